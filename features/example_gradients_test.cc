// Per-example gradients against autograd one row at a time, and features as the method's formula of them.
#include "features/example_gradients.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/expect_error.h"
#include "features/features.h"
#include "features/projection_adam.h"
#include "lora/lora_mix.h"
#include "lora/testing.h"
#include "model/testing.h"

namespace elrea {
namespace {

using torch::Tensor;

double Cosine(const Tensor& a, const Tensor& b) { return ((a * b).sum() / (a.norm() * b.norm())).item<double>(); }

class FeaturesTest : public testing::TestWithParam<ModelConfig (*)()> {
 protected:
  FeaturesTest() : decoder_(MakeTinyModel(GetParam()(), 7)), weights_(MakeTinyModel(GetParam()(), 7)) {
    for (int64_t length : {17, 2, 30, 9, 9, 21}) {
      rows_.push_back(RandomTokens(length, weights_.config.vocab, static_cast<uint64_t>(length + rows_.size())));
    }
  }
  std::vector<std::span<const int32_t>> Spans() const { return {rows_.begin(), rows_.end()}; }

  FeatureCheckpoint Checkpoint(uint64_t seed, int64_t steps) const {
    FeatureCheckpoint c;
    c.adapter = MakeRandomAdapter(weights_.config, config_, seed);
    c.m = MakeRandomAdapter(weights_.config, config_, seed + 1).params * 1e-3;
    c.v = MakeRandomAdapter(weights_.config, config_, seed + 2).params.square() * 1e-4;
    c.steps = steps;
    return c;
  }

  // Gradient of the mean next-token loss of one row, by autograd.
  Tensor TwinGradient(const Adapter& adapter, const std::vector<int32_t>& row) const {
    Tensor params = adapter.params.clone().requires_grad_(true);
    Tensor log_probs = torch::log_softmax(TwinLogits(weights_, config_, params, row), 1);
    Tensor loss = torch::zeros({});
    for (size_t t = 0; t + 1 < row.size(); ++t) loss = loss - log_probs[static_cast<int64_t>(t)][row[t + 1]];
    (loss / static_cast<double>(row.size() - 1)).backward();
    return params.grad();
  }

  AdapterConfig config_{.rank = 4, .alpha = 8};
  Decoder decoder_;
  ModelWeights weights_;
  std::vector<std::vector<int32_t>> rows_;
};

TEST_P(FeaturesTest, RawGradientsEqualAutogradWhateverTheBatch) {
  FeatureCheckpoint checkpoint = Checkpoint(1, 5);
  for (int64_t max_tokens : {1, 40, 1000}) {
    FeatureOptions options{.projection_dim = 64, .max_tokens_per_pass = max_tokens};
    FeatureExtractor extractor(decoder_, {checkpoint}, options);
    auto gradients = extractor.RawGradients(Spans());
    for (size_t r = 0; r < rows_.size(); ++r) {
      Tensor ours = torch::tensor(gradients[r]), twin = TwinGradient(checkpoint.adapter, rows_[r]);
      EXPECT_GT(Cosine(ours, twin), 0.999999) << "row " << r;
      EXPECT_NEAR(ours.norm().item<double>() / twin.norm().item<double>(), 1, 1e-4);
    }
  }
}

TEST_P(FeaturesTest, FeaturesFollowTheFormula) {
  std::vector<FeatureCheckpoint> checkpoints = {Checkpoint(1, 3), Checkpoint(20, 6)};
  for (const char* momentum : {"included", "excluded"}) {
    FeatureOptions options{.projection_dim = 256, .momentum = momentum, .max_tokens_per_pass = 50, .seed = 4};
    FeatureExtractor extractor(decoder_, checkpoints, options);
    std::vector<float> features = extractor.Extract(Spans());
    RandomProjection projection(4, extractor.num_params(), 256);
    for (size_t r = 0; r < rows_.size(); ++r) {
      Tensor sum = torch::zeros({extractor.num_params()});
      for (const FeatureCheckpoint& c : checkpoints) {
        Tensor g = TwinGradient(c.adapter, rows_[r]);
        double n = static_cast<double>(c.steps), b1 = c.beta1, b2 = c.beta2;
        Tensor m = ((momentum == std::string("included") ? b1 : 0.0) * c.m + (1 - b1) * g) / (1 - std::pow(b1, n));
        Tensor v = (b2 * c.v + (1 - b2) * g.square()) / (1 - std::pow(b2, n));
        sum += m / (v.sqrt() + c.epsilon);
      }
      std::vector<float> scratch(projection.sum_size()), out(256);
      projection.Accumulate(sum.data_ptr<float>(), 0, sum.numel(), scratch.data());
      projection.Finish(scratch.data(), out.data());
      Tensor ours = torch::from_blob(&features[r * 256], {256}), expected = torch::tensor(out);
      EXPECT_GT(Cosine(ours, expected), 0.9999) << "row " << r;
      EXPECT_NEAR(ours.norm().item<double>(), 1, 1e-5);
    }
  }
}

// The backward pass ends early, and what it gives is what the whole one gives for these blocks.
TEST_P(FeaturesTest, TopBlocksAreTheTailOfTheWholeGradient) {
  const FeatureCheckpoint checkpoint = Checkpoint(1, 5);
  const int64_t layers = weights_.config.layers, top = layers - 1;
  const AdapterLayout layout(weights_.config, config_);
  const int64_t first = layout.group(1, LinearGroup::kQkv).a_offset;
  FeatureExtractor whole(decoder_, {checkpoint}, {.projection_dim = 64});
  FeatureExtractor part(decoder_, {checkpoint}, {.projection_dim = 64, .top_blocks = top});
  const auto all = whole.RawGradients(Spans()), tail = part.RawGradients(Spans());
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (int64_t i = 0; i < layout.num_params(); ++i) ASSERT_EQ(tail[r][i], i < first ? 0.0f : all[r][i]) << i;
  }
  // The feature: R of the Adam form with nothing below.
  const std::vector<float> features = part.Extract(Spans());
  RandomProjection projection(0, layout.num_params(), 64);
  for (size_t r = 0; r < rows_.size(); ++r) {
    std::vector<float> form(layout.num_params()), sum(projection.sum_size()), expected(64);
    ApplyAdamForm({5}, all[r].data() + first, checkpoint.m.data_ptr<float>() + first,
                  checkpoint.v.data_ptr<float>() + first, layout.num_params() - first, form.data() + first);
    projection.Accumulate(form.data(), 0, layout.num_params(), sum.data());
    projection.Finish(sum.data(), expected.data());
    EXPECT_GT(Cosine(torch::tensor(expected), torch::from_blob(const_cast<float*>(&features[r * 64]), {64})), 0.99999);
  }
  EXPECT_EQ(FeatureExtractor(decoder_, {checkpoint}, {.projection_dim = 64, .top_blocks = layers}).Extract(Spans()),
            whole.Extract(Spans()));
  ExpectError(ErrorKind::kInvalidInput, {"features.top_blocks", std::to_string(layers)}, [&] {
    FeatureExtractor(decoder_, {checkpoint}, {.projection_dim = 64, .top_blocks = layers + 1});
  });
}

TEST_P(FeaturesTest, WithoutNormalisingAFeatureIsTheMeanOverTheCheckpoints) {
  const std::vector<FeatureCheckpoint> checkpoints = {Checkpoint(1, 3), Checkpoint(20, 6)};
  const auto extract = [&](std::vector<FeatureCheckpoint> of, bool normalise) {
    return torch::tensor(
               FeatureExtractor(decoder_, std::move(of), {.projection_dim = 64, .normalise = normalise}).Extract(Spans()))
        .view({-1, 64});
  };
  const Tensor raw = extract(checkpoints, false), unit = extract(checkpoints, true);
  EXPECT_LT((raw / raw.norm(2, 1, true) - unit).abs().max().item<float>(), 1e-6f);
  const Tensor mean = (extract({checkpoints[0]}, false) + extract({checkpoints[1]}, false)) / 2;
  EXPECT_LT((raw - mean).norm().item<float>() / mean.norm().item<float>(), 1e-5f);
}

TEST_P(FeaturesTest, CheckpointsSideBySideGiveTheSameAsOneAfterTheOther) {
  std::vector<FeatureCheckpoint> checkpoints = {Checkpoint(1, 3), Checkpoint(20, 6)};
  auto extract = [&](int64_t max_tokens) {
    FeatureOptions options{.projection_dim = 64, .max_tokens_per_pass = max_tokens};
    return torch::tensor(FeatureExtractor(decoder_, checkpoints, options).Extract(Spans()));
  };
  EXPECT_LT((extract(1000) - extract(100)).abs().max().item<float>(), 1e-5f);  // 88 tokens, 176 at both
}

TEST_P(FeaturesTest, SeveralLengthsInOnePassAreThoseOfSinglePasses) {
  const std::vector<FeatureCheckpoint> checkpoints = {Checkpoint(1, 3), Checkpoint(20, 6)};
  const FeatureOptions options{.projection_dim = 64, .more_projection_dims = {300, 16, 1024}, .max_tokens_per_pass = 50};
  const std::vector<int64_t> dims = AllProjectionDims(options);
  ASSERT_EQ(dims, (std::vector<int64_t>{64, 300, 16, 1024}));
  FeatureExtractor together(decoder_, checkpoints, options, dims);
  const std::vector<std::vector<float>> features = together.ExtractAll(Spans());
  ASSERT_EQ(features.size(), dims.size());
  for (size_t i = 0; i < dims.size(); ++i) {
    FeatureExtractor alone(decoder_, checkpoints, {.projection_dim = dims[i], .max_tokens_per_pass = 50});
    EXPECT_EQ(features[i], alone.Extract(Spans())) << dims[i];
    EXPECT_EQ(together.fingerprint(i), alone.fingerprint()) << dims[i];
  }
  EXPECT_EQ(FeatureExtractor(decoder_, checkpoints, options).Extract(Spans()), features[0]);
}

TEST(AllProjectionDimsTest, LengthsOutOfRangeOrTwiceAreNamed) {
  for (const auto& [dim, more] : {std::pair<const char*, std::vector<int64_t>>{"15", {15}}, {"64", {64}}, {"99", {99, 99}}}) {
    try {
      AllProjectionDims({.projection_dim = 64, .more_projection_dims = more});
      ADD_FAILURE() << "no error for " << dim;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
      EXPECT_NE(error.message().find(dim), std::string::npos) << error.message();
    }
  }
}

TEST_P(FeaturesTest, FingerprintTellsCheckpointsAndOptionsApart) {
  auto fingerprint = [&](uint64_t seed, FeatureOptions options) {
    return FeatureExtractor(decoder_, {Checkpoint(seed, 3)}, options).fingerprint();
  };
  FeatureOptions options{.projection_dim = 64};
  std::string base = fingerprint(1, options);
  EXPECT_EQ(base, fingerprint(1, options));
  EXPECT_EQ(base, fingerprint(1, {.projection_dim = 64, .max_tokens_per_pass = 7}));  // changes no feature
  EXPECT_NE(base, fingerprint(2, options));
  EXPECT_NE(base, fingerprint(1, {.projection_dim = 128}));
  EXPECT_NE(base, fingerprint(1, {.projection_dim = 64, .seed = 9}));
  EXPECT_NE(base, fingerprint(1, {.projection_dim = 64, .top_blocks = 1}));
  EXPECT_NE(base, fingerprint(1, {.projection_dim = 64, .normalise = false}));
}

// Empty caches for as many rows.
std::vector<std::unique_ptr<KvCache>> MakeCaches(const Decoder& decoder, size_t rows) {
  std::vector<std::unique_ptr<KvCache>> caches;
  for (size_t i = 0; i < rows; ++i) caches.push_back(std::make_unique<KvCache>(decoder.config(), torch::kFloat, torch::kCPU, 1));
  return caches;
}

std::vector<KvCache*> Pointers(const std::vector<std::unique_ptr<KvCache>>& caches) {
  std::vector<KvCache*> pointers;
  for (const auto& cache : caches) pointers.push_back(cache.get());
  return pointers;
}

// `cache` is what reading `row` under `adapter` leaves.
void ExpectRead(const Decoder& decoder, const Adapter& adapter, std::span<const int32_t> row, const KvCache& cache) {
  const AdapterLayout layout(decoder.config(), adapter.config);
  const LoraWeights weights(layout, adapter, torch::kFloat, torch::kCPU);
  KvCache expected(decoder.config(), torch::kFloat, torch::kCPU, 1);
  PackedBatch batch = PackRows({row});
  batch.caches = {&expected};
  LoraMix mix(std::vector<const LoraWeights*>{&weights});
  decoder.Forward(batch, &mix);
  ASSERT_EQ(cache.length(), expected.length());
  for (int64_t layer = 0; layer < decoder.config().layers; ++layer) {
    const auto stored = [&](const KvCache& c) {
      return torch::cat({c.keys(layer), c.values(layer)}, 1).narrow(0, 0, expected.length());
    };
    EXPECT_LT((stored(cache) - stored(expected)).abs().max().item<float>(), 1e-4f);
  }
}

TEST_P(FeaturesTest, PromptsAreReadUnderTheBaseAdapterOnTheWay) {
  const FeatureCheckpoint base = Checkpoint(2, 4);
  FeatureExtractor extractor(decoder_, {Checkpoint(1, 3), base}, {.projection_dim = 64, .max_tokens_per_pass = 100});
  const auto caches = MakeCaches(decoder_, rows_.size());
  EXPECT_EQ(extractor.Extract(Spans(), Pointers(caches)), extractor.Extract(Spans()));
  for (size_t i = 0; i < rows_.size(); ++i) ExpectRead(decoder_, base.adapter, rows_[i], *caches[i]);
}

// Features of 64 numbers, of gradients alike to 1e-6: coordinates with small moments make more of that.
void ExpectAlike(const std::vector<float>& ours, const std::vector<float>& expected) {
  const Tensor a = torch::tensor(ours).view({-1, 64}), b = torch::tensor(expected).view({-1, 64});
  EXPECT_GT((a * b).sum(1).min().item<float>(), 0.9999f);
}

TEST_P(FeaturesTest, ASharedBeginningChangesNothing) {
  const FeatureCheckpoint first = Checkpoint(1, 3), base = Checkpoint(2, 4);
  const std::vector<int32_t> common = RandomTokens(12, weights_.config.vocab, 99);
  for (size_t i = 0; i + 1 < rows_.size(); ++i) rows_[i].insert(rows_[i].begin(), common.begin(), common.end());  // but the last
  rows_.push_back(common);                                                                     // nothing behind it
  rows_.push_back({common.begin(), common.end() - 1});
  rows_[1].resize(common.size() + 1);  // one token behind it
  for (int64_t max_tokens : {60, 1000}) {
    const FeatureOptions options{.projection_dim = 64, .max_tokens_per_pass = max_tokens};
    FeatureExtractor shared(decoder_, {first, base}, options), plain(decoder_, {first, base}, options);
    shared.ShareBeginning(common);
    const auto gradients = shared.RawGradients(Spans());
    for (size_t r = 0; r < rows_.size(); ++r) {
      const Tensor ours = torch::tensor(gradients[r]), twin = TwinGradient(base.adapter, rows_[r]);
      EXPECT_GT(Cosine(ours, twin), 0.999999) << "row " << r;
      EXPECT_NEAR(ours.norm().item<double>() / twin.norm().item<double>(), 1, 1e-4) << "row " << r;
    }
    const auto caches = MakeCaches(decoder_, rows_.size());
    ExpectAlike(shared.Extract(Spans(), Pointers(caches)), plain.Extract(Spans()));
    for (size_t i = 0; i < rows_.size(); ++i) ExpectRead(decoder_, base.adapter, rows_[i], *caches[i]);
  }
}

TEST_P(FeaturesTest, ASharedBeginningEndsAtTheLowestOfTheTopBlocks) {
  const FeatureOptions options{.projection_dim = 64, .top_blocks = 1};
  FeatureExtractor shared(decoder_, {Checkpoint(1, 5)}, options), plain(decoder_, {Checkpoint(1, 5)}, options);
  const std::vector<int32_t> common = RandomTokens(12, weights_.config.vocab, 99);
  for (auto& row : rows_) row.insert(row.begin(), common.begin(), common.end());
  shared.ShareBeginning(CommonBeginning(Spans()));
  ExpectAlike(shared.Extract(Spans()), plain.Extract(Spans()));
}

TEST(CommonBeginningTest, IsTheLongestOfAllRows) {
  const std::vector<int32_t> a = {1, 2, 3, 4}, b = {1, 2, 3}, c = {1, 2, 9, 4, 5}, d = {7};
  EXPECT_EQ(CommonBeginning({}).size(), 0u);
  EXPECT_EQ(CommonBeginning({a}).size(), 4u);
  EXPECT_EQ(CommonBeginning({a, b}).size(), 3u);
  EXPECT_EQ(CommonBeginning({a, b, c}).size(), 2u);
  EXPECT_EQ(CommonBeginning({a, d, c}).size(), 0u);
}

TEST_P(FeaturesTest, ARowWithoutTwoTokensIsRefused) {
  FeatureExtractor extractor(decoder_, {Checkpoint(1, 3)}, {.projection_dim = 64});
  std::vector<int32_t> single = {3};
  EXPECT_THROW(extractor.Extract({rows_[0], single}), Error);
}

INSTANTIATE_TEST_SUITE_P(Families, FeaturesTest, testing::Values(TinyLlamaConfig, TinyGemma3Config));

}  // namespace
}  // namespace elrea
