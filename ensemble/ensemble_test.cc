#include "ensemble/ensemble.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/temp_dir.h"
#include "lora/adapter_file.h"
#include "lora/testing.h"
#include "model/testing.h"

namespace elrea {
namespace {

// Points on a quarter circle, the i-th at 10 i degrees, at different distances from the origin.
std::vector<float> QuarterCircle(int64_t count) {
  std::vector<float> rows;
  for (int64_t i = 0; i < count; ++i) {
    const double angle = static_cast<double>(i) * M_PI / 18, length = 1 + static_cast<double>(i);
    rows.push_back(static_cast<float>(length * std::cos(angle)));
    rows.push_back(static_cast<float>(length * std::sin(angle)));
  }
  return rows;
}

TEST(NearestRows, OrdersByAngleWhateverTheLength) {
  const std::vector<float> rows = QuarterCircle(9);
  const std::vector<float> feature = {static_cast<float>(std::cos(0.53)),
                                      static_cast<float>(std::sin(0.53))};  // 30.4 deg
  const auto nearest = NearestRows({rows.data(), 9, 2}, {}, feature, 3);
  ASSERT_EQ(nearest.size(), 3u);
  EXPECT_EQ(nearest[0].row, 3);
  EXPECT_EQ(nearest[1].row, 4);
  EXPECT_EQ(nearest[2].row, 2);
  EXPECT_NEAR(nearest[0].cosine, std::cos(0.53 - M_PI / 6), 1e-6);
}

TEST(NearestRows, SubtractsTheMeanFirst) {
  const std::vector<float> rows = {11, 10, 10, 11};
  const std::vector<float> mean = {10, 10}, feature = {0, 1};
  const auto nearest = NearestRows({rows.data(), 2, 2}, mean, feature, 1);
  ASSERT_EQ(nearest.size(), 1u);
  EXPECT_EQ(nearest[0].row, 1);
  EXPECT_NEAR(nearest[0].cosine, 1.0, 1e-6);
}

TEST(NearestRows, GivesNoMoreThanThereAreAndBreaksTiesByRow) {
  const std::vector<float> rows = {1, 0, 2, 0, 0, 1};
  const std::vector<float> feature = {1, 0};
  const auto nearest = NearestRows({rows.data(), 3, 2}, {}, feature, 10);
  ASSERT_EQ(nearest.size(), 3u);
  EXPECT_EQ(nearest[0].row, 0);
  EXPECT_EQ(nearest[1].row, 1);
}

TEST(ExpertBank, RefusesARoutingOverOtherClusters) {
  const ExpertBank bank;
  EXPECT_THROW(bank.Members({0.5, {1.0}, {0.5}}), Error);
}

// The last checkpoint is the base adapter: what routing read under it answers need not read again.
TEST(Ensemble, RoutingLeavesThePromptReadUnderTheBaseAdapter) {
  const TempDir folder;
  const Decoder decoder(MakeTinyModel(TinyLlamaConfig(), 7));
  const AdapterConfig config{.rank = 4, .alpha = 8};
  const Adapter base = MakeRandomAdapter(decoder.config(), config, 1);
  for (const char* name : {"base", "expert"}) SaveAdapter(folder / name, base, decoder.config(), "tiny");
  const FeatureCheckpoint checkpoint{base, torch::zeros_like(base.params), torch::ones_like(base.params), 3};
  RouterParts router;
  router.extractor = std::make_unique<FeatureExtractor>(decoder, std::vector{checkpoint},
                                                        FeatureOptions{.projection_dim = 16});
  router.clustering.dim = 16;
  router.clustering.clusters.emplace_back().centroid.assign(16, 0.25f);
  Ensemble ensemble(decoder, ExpertBank(decoder, folder / "base", {folder / "expert"}), std::move(router));
  const std::vector<int32_t> prompt = RandomTokens(20, decoder.config().vocab, 3);
  PrefixCache prefixes(decoder, 1 << 24);
  EXPECT_EQ(ensemble.Features({prompt}, &prefixes), ensemble.Features({prompt}));
  const auto read = prefixes.Find(ensemble.bank().base(), prompt, 0);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->length(), 19);  // the last token's hidden state is still to be made
  EXPECT_FALSE(prefixes.Find(ensemble.bank().expert(0), prompt, 0).has_value());
}

}  // namespace
}  // namespace elrea
