// Gates against a naive twin in the forward pass and finite differences in the backward pass; training and
// resuming.
#include "lora/gate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/expect_error.h"
#include "lora/decode_adapter.h"
#include "lora/gate_trainer.h"
#include "lora/lora_mix.h"
#include "lora/testing.h"
#include "model/decoder.h"
#include "model/testing.h"

namespace elrea {
namespace {

using torch::Tensor;

constexpr int64_t kParts = 3, kRank = 4;  // of a part

class GateTest : public testing::TestWithParam<ModelConfig (*)()> {
 protected:
  GateTest()
      : decoder_(MakeTinyModel(GetParam()(), 7)),
        adapter_(
            MakeRandomAdapter(decoder_.config(), {.rank = kParts * kRank, .alpha = 2 * kParts * kRank}, 11)),
        layout_(decoder_.config(), adapter_.config),
        lora_(layout_, adapter_, torch::kFloat, torch::kCPU) {
    at::manual_seed(5);
    rows_ = 2 * torch::randn({Gate::NumParams(layout_, kParts)});
    for (int64_t length : {13, 1, 9}) {
      tokens_.push_back(RandomTokens(length, decoder_.config().vocab, static_cast<uint64_t>(length)));
    }
  }
  PackedBatch Pack() const { return PackRows({tokens_.begin(), tokens_.end()}); }
  void SetGate(GateScore score, const Tensor& rows) {
    lora_.SetGate(std::make_unique<Gate>(layout_, kParts, score, rows));
  }
  Tensor MixForward() {
    LoraMix mix(std::vector<const LoraWeights*>(tokens_.size(), &lora_));
    return decoder_.Forward(Pack(), &mix);
  }
  static double MaxError(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

  Decoder decoder_;
  Adapter adapter_;
  AdapterLayout layout_;
  LoraWeights lora_;
  Tensor rows_;
  std::vector<std::vector<int32_t>> tokens_;
};

// y += s sum_c g_c B_c A_c x, projection by projection and part by part.
class TwinDelta : public LinearDelta {
 public:
  TwinDelta(const AdapterLayout& layout, const Adapter& adapter, const Gate& gate, GateScore score)
      : layout_(layout), adapter_(adapter), gate_(gate), score_(score) {}
  void AddForward(int64_t layer, LinearGroup id, const PackedBatch&, const Tensor& x, Tensor& y) override {
    const auto& slots = layout_.group(layer, id).slots;
    const Tensor rows = gate_.Rows(gate_.params(), layer, id);
    for (size_t s = 0; s < slots.size(); ++s) {
      const Tensor own = rows.narrow(0, static_cast<int64_t>(s) * kParts, kParts);
      const Tensor product = x.mm(own.t());
      const Tensor shares = torch::softmax(
          score_ == GateScore::kLinear ? product / std::sqrt(static_cast<double>(x.size(1))) : product.abs(),
          1);
      for (int64_t c = 0; c < kParts; ++c) {
        const Tensor a = layout_.A(adapter_.params, layer, id, s).narrow(0, c * kRank, kRank);
        const Tensor b = layout_.B(adapter_.params, layer, id, s).narrow(1, c * kRank, kRank);
        y.narrow(1, slots[s].out_first, slots[s].out)
            .add_(x.mm(a.t()).mm(b.t()) * shares.narrow(1, c, 1) * adapter_.config.scale());
      }
    }
  }

 private:
  const AdapterLayout& layout_;
  const Adapter& adapter_;
  const Gate& gate_;
  GateScore score_;
};

TEST_P(GateTest, SharesOfEachTokenAreThoseOfTheTwin) {
  const Tensor without = MixForward();
  for (GateScore score : {GateScore::kLinear, GateScore::kAbsolute}) {
    SetGate(score, rows_);
    TwinDelta twin(layout_, adapter_, *lora_.gate(), score);
    const Tensor expected = decoder_.Forward(Pack(), &twin);
    EXPECT_LT(MaxError(MixForward(), expected), 2e-5);
    EXPECT_GT(MaxError(MixForward(), without), 1e-2);
  }
}

TEST_P(GateTest, GatesOfZeroAverageTheParts) {
  SetGate(GateScore::kLinear, torch::zeros_like(rows_));
  Adapter third = adapter_;
  third.config.alpha /= kParts;
  const LoraWeights average(layout_, third, torch::kFloat, torch::kCPU);
  LoraMix mix(std::vector<const LoraWeights*>(tokens_.size(), &average));
  EXPECT_LT(MaxError(MixForward(), decoder_.Forward(Pack(), &mix)), 2e-5);
}

TEST_P(GateTest, GradientsAreTheSlopesOfTheLoss) {
  SetGate(GateScore::kLinear, rows_);
  GateTrainer trainer(lora_);
  const PackedBatch batch = Pack();
  std::vector<int64_t> positions;
  for (int64_t s = 0; s < batch.num_segments(); ++s) {
    for (int64_t t = 0; t + 1 < batch.length(s); ++t) positions.push_back(batch.begin(s) + t);
  }
  const Tensor position = torch::tensor(positions);
  const LossTargets targets{position, batch.ids.index_select(0, position + 1),
                            torch::ones({static_cast<int64_t>(positions.size())})};
  ForwardTape tape;
  Tensor grad_residual;
  const Tensor residual = decoder_.Forward(batch, &trainer, &tape);
  EXPECT_LT(MaxError(residual, MixForward()), 1e-5);
  decoder_.LossAndGradient(residual, targets, grad_residual);
  decoder_.Backward(batch, tape, grad_residual, trainer);
  const auto loss = [&](const Tensor& rows) {
    rows_.copy_(rows);
    return decoder_.Loss(MixForward(), targets).sum(torch::kDouble).item<double>();
  };
  const Tensor here = rows_.clone(), grad = trainer.grad().clone();
  for (uint64_t seed : {1, 2, 3}) {
    at::manual_seed(seed);
    // Along the gradient and a random direction: a part of the gradient that is missing shows.
    const Tensor direction =
        grad / grad.norm() + torch::randn_like(here) / std::sqrt(static_cast<double>(here.numel()));
    const double step = 2e-2,
                 slope = (loss(here + step * direction) - loss(here - step * direction)) / (2 * step);
    EXPECT_NEAR(slope / (grad * direction).sum().item<double>(), 1, 5e-3);
  }
}

TEST_P(GateTest, TheDecodeEngineRefusesGates) {
  SetGate(GateScore::kLinear, rows_);
  ExpectError(ErrorKind::kInternal, {"gate"}, [&] { DecodeView(lora_); });
}

INSTANTIATE_TEST_SUITE_P(Families, GateTest, testing::Values(TinyLlamaConfig, TinyGemma3Config));

}  // namespace
}  // namespace elrea
