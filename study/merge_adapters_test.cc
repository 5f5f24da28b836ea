#include "study/merge_adapters.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/lora_mix.h"
#include "lora/testing.h"
#include "model/decoder.h"
#include "model/testing.h"

namespace elrea {
namespace {

using torch::Tensor;

class MergeAdaptersTest : public testing::Test {
 protected:
  MergeAdaptersTest() : decoder_(MakeTinyModel(TinyLlamaConfig(), 7)) {
    for (uint64_t seed : {21, 22, 23})
      adapters_.push_back(MakeRandomAdapter(decoder_.config(), config_, seed));
  }
  Tensor Forward(const Adapter& adapter) {
    const MergedAdapter merged = MakeMerged(decoder_.config(), adapter, torch::kFloat, torch::kCPU);
    LoraMix mix({merged.weights.get()});
    return decoder_.Forward(PackRows({tokens_}), &mix);
  }
  static float Distance(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<float>(); }

  AdapterConfig config_{.rank = 4, .alpha = 8};
  Decoder decoder_;
  std::vector<Adapter> adapters_;
  std::vector<int32_t> tokens_ = RandomTokens(9, TinyLlamaConfig().vocab, 3);
};

// The naive twin: every layer's update is the weighted sum of the adapters' updates.
class SumOfAdapters : public LinearDelta {
 public:
  SumOfAdapters(std::vector<LoraMix*> parts, std::vector<double> shares) : parts_(parts), shares_(shares) {}
  void AddForward(int64_t layer, LinearGroup group, const PackedBatch& batch, const Tensor& x,
                  Tensor& y) override {
    for (size_t c = 0; c < parts_.size(); ++c) {
      Tensor update = torch::zeros_like(y);
      parts_[c]->AddForward(layer, group, batch, x, update);
      y.add_(update, shares_[c]);
    }
  }

 private:
  std::vector<LoraMix*> parts_;
  std::vector<double> shares_;
};

TEST_F(MergeAdaptersTest, ConcatenationIsTheWeightedSumInEachLayer) {
  const std::vector<double> shares = {0.5, 0.2, 0.3};
  std::vector<MergedAdapter> own;
  std::vector<std::unique_ptr<LoraMix>> mixes;
  std::vector<LoraMix*> parts;
  for (const Adapter& adapter : adapters_) {
    own.push_back(MakeMerged(decoder_.config(), adapter, torch::kFloat, torch::kCPU));
    mixes.push_back(std::make_unique<LoraMix>(std::vector<const LoraWeights*>{own.back().weights.get()}));
    parts.push_back(mixes.back().get());
  }
  SumOfAdapters twin(parts, shares);
  const Tensor expected = decoder_.Forward(PackRows({tokens_}), &twin);
  const Adapter joined =
      ConcatenateAdapters(decoder_.config(), {&adapters_[0], &adapters_[1], &adapters_[2]}, shares);
  EXPECT_EQ(joined.config.rank, 12);
  EXPECT_LT(Distance(Forward(joined), expected), 1e-4 * expected.abs().max().item<float>());
  EXPECT_GT(Distance(Forward(adapters_[0]), expected), 1e-2);
}

TEST_F(MergeAdaptersTest, OneAdapterOfShareOneStaysItself) {
  const Tensor alone = Forward(adapters_[1]);
  EXPECT_LT(Distance(Forward(ConcatenateAdapters(decoder_.config(), {&adapters_[1]}, {1.0})), alone), 1e-5);
  EXPECT_LT(Distance(Forward(AverageAdapters({&adapters_[1]}, {1.0})), alone), 1e-6);
}

TEST_F(MergeAdaptersTest, TheAverageIsOfTheMatricesNotOfTheirProducts) {
  const Adapter average = AverageAdapters({&adapters_[0], &adapters_[1]}, {0.25, 0.75});
  EXPECT_LT(Distance(average.params, adapters_[0].params * 0.25 + adapters_[1].params * 0.75), 1e-6);
  EXPECT_GT(Distance(Forward(average), Forward(ConcatenateAdapters(
                                           decoder_.config(), {&adapters_[0], &adapters_[1]}, {0.25, 0.75}))),
            1e-3);
}

}  // namespace
}  // namespace elrea
