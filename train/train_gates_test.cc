#include "train/train_gates.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/damage.h"
#include "core/expect_error.h"
#include "core/temp_dir.h"
#include "lora/gate.h"
#include "lora/lora_mix.h"
#include "lora/testing.h"
#include "model/testing.h"

namespace elrea {
namespace {

using torch::Tensor;

class TrainGatesTest : public testing::Test {
 protected:
  TrainGatesTest() : decoder_(MakeTinyModel(TinyLlamaConfig(), 7)) {
    for (uint64_t i = 0; i < 12; ++i) {
      rows_.push_back({RandomTokens(8 + static_cast<int64_t>(i % 5), decoder_.config().vocab, i % 3), 4, 0});
    }
  }
  // Trains fresh gates in a folder; `stop_after` steps at most.
  Tensor Train(const fs::path& folder, int64_t stop_after = 1000, GateResult* result = nullptr) {
    const Adapter adapter = MakeRandomAdapter(decoder_.config(), {.rank = 6, .alpha = 12}, 3);
    const AdapterLayout layout(decoder_.config(), adapter.config);
    LoraWeights lora(layout, adapter, torch::kFloat, torch::kCPU);
    const Tensor params = torch::zeros({Gate::NumParams(layout, 2)});
    lora.SetGate(std::make_unique<Gate>(layout, 2, GateScore::kLinear, params));
    GateJob job{"gates", &decoder_, &lora, {}, folder, [&](int64_t steps) { return steps < stop_after; }};
    for (const TokenRow& row : rows_) job.rows.push_back(&row);
    LoraMix mix(std::vector<const LoraWeights*>(rows_.size(), &lora));
    before_ = Loss(lora, job);
    const GateResult done = TrainGates(job, options_);
    after_ = Loss(lora, job);
    if (result != nullptr) *result = done;
    return params;
  }
  double Loss(const LoraWeights& lora, const GateJob& job) {
    double sum = 0;
    for (const TokenRow* row : job.rows) {
      LoraMix mix({&lora});
      sum += ResponseLoss(decoder_, &mix, std::span(&row, 1), 1000);
    }
    return sum / static_cast<double>(job.rows.size());
  }

  Decoder decoder_;
  std::vector<TokenRow> rows_;
  FinetuneOptions options_{
      .epochs = 3, .batch_size = 4, .learning_rate = 0.05, .dropout = 0, .max_tokens_per_pass = 30};
  TempDir folder_;
  double before_ = 0, after_ = 0;
};

TEST_F(TrainGatesTest, TheLossFallsAndTheResultIsKept) {
  GateResult first, again;
  const Tensor trained = Train(folder_ / "a", 1000, &first);
  EXPECT_LT(after_, before_ - 0.02);
  EXPECT_TRUE(Train(folder_ / "a", 0, &again).equal(trained));  // read, not trained
  EXPECT_NEAR(again.final_loss, first.final_loss, 1e-6);
}

TEST_F(TrainGatesTest, StoppedTwiceItEndsWithTheSameGates) {
  const Tensor whole = Train(folder_ / "whole");
  for (int64_t steps : {2, 3, 7, 9}) {  // 3 and 9 end an epoch
    ExpectError(ErrorKind::kUnavailable, {"stopped after step"}, [&] { Train(folder_ / "stopped", steps); });
  }
  EXPECT_TRUE(Train(folder_ / "stopped").equal(whole));
}

TEST_F(TrainGatesTest, DamagedFilesAreReadOrRefused) {
  Train(folder_ / "a");
  const DamageOptions options{.cut_every = 61, .flips = 150, .flip_within = 400};
  const DamageCounts counts =
      ReadDamaged(folder_ / "a/gates.safetensors", "gates.safetensors", options, [&] { Train(folder_ / "a", 0); });
  EXPECT_GE(counts.refused, counts.cuts);
}

TEST_F(TrainGatesTest, NoRowsAreAnError) {
  rows_.clear();
  EXPECT_THROW(Train(folder_ / "none"), Error);
}

}  // namespace
}  // namespace elrea
