// The decoder with adapters against the autograd twin: logits, losses and summed gradients; the identities of mixes,
// caches and dropout. Both tiny families, f32.
#include "lora/lora_trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "lora/lora_mix.h"
#include "lora/testing.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/testing.h"

namespace elrea {
namespace {

using torch::Tensor;

double RelativeError(const Tensor& a, const Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }
double MaxError(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

struct Family {
  const char* name;
  ModelConfig (*config)();
};

class LoraTrainerTest : public testing::TestWithParam<Family> {
 protected:
  LoraTrainerTest()
      : weights_(MakeTinyModel(GetParam().config(), 7)),
        decoder_(MakeTinyModel(GetParam().config(), 7)),
        layout_(weights_.config, config_),
        adapter_(MakeRandomAdapter(weights_.config, config_, 11)),
        lora_(layout_, adapter_, torch::kFloat, torch::kCPU) {
    for (int64_t length : {13, 1, 9, 24}) {
      rows_.push_back(RandomTokens(length, weights_.config.vocab, static_cast<uint64_t>(length)));
    }
  }
  PackedBatch Pack() const { return PackRows({rows_.begin(), rows_.end()}); }
  Tensor TwinRow(size_t row, const Tensor& params) const { return TwinLogits(weights_, config_, params, rows_[row]); }

  AdapterConfig config_{.rank = 4, .alpha = 8};
  ModelWeights weights_;
  Decoder decoder_;
  AdapterLayout layout_;
  Adapter adapter_;
  LoraWeights lora_;
  std::vector<std::vector<int32_t>> rows_;
};

TEST_P(LoraTrainerTest, PackedLogitsEqualTheTwinsRowByRow) {
  PackedBatch batch = Pack();
  LoraTrainer trainer(lora_);
  for (bool adapted : {false, true}) {
    Tensor logits = decoder_.Logits(decoder_.Forward(batch, adapted ? &trainer : nullptr));
    for (size_t r = 0; r < rows_.size(); ++r) {
      Tensor twin = TwinRow(r, adapted ? adapter_.params : Tensor());
      EXPECT_LT(MaxError(logits.narrow(0, batch.begin(r), batch.length(r)), twin), 2e-5) << "row " << r;
    }
  }
}

TEST_P(LoraTrainerTest, FreshAdapterChangesNothingBitForBit) {
  Adapter fresh = MakeAdapter(weights_.config, config_, 3);
  LoraWeights lora(layout_, fresh, torch::kFloat, torch::kCPU);
  LoraTrainer trainer(lora);
  EXPECT_TRUE(decoder_.Forward(Pack(), &trainer).equal(decoder_.Forward(Pack(), nullptr)));
}

// Loss at every second position with uneven weights, so that a misplaced row or weight shows.
LossTargets SomeTargets(const PackedBatch& batch) {
  std::vector<int64_t> positions;
  std::vector<float> weights;
  for (int64_t s = 0; s < batch.num_segments(); ++s) {
    for (int64_t t = s % 2; t + 1 < batch.length(s); t += 2) {
      positions.push_back(batch.begin(s) + t);
      weights.push_back(0.1f * static_cast<float>(1 + (t + s) % 5));
    }
  }
  Tensor position = torch::tensor(positions, torch::kLong);
  return {position, batch.ids.index_select(0, position + 1), torch::tensor(weights)};
}

TEST_P(LoraTrainerTest, LossAndGradientEqualAutograd) {
  PackedBatch batch = Pack();
  LossTargets targets = SomeTargets(batch);
  LoraTrainer trainer(lora_);
  ForwardTape tape;
  Tensor grad_residual;
  Tensor nll = decoder_.LossAndGradient(decoder_.Forward(batch, &trainer, &tape), targets, grad_residual);
  decoder_.Backward(batch, tape, grad_residual, trainer);

  Tensor params = adapter_.params.clone().requires_grad_(true);
  std::vector<Tensor> logits;
  for (size_t r = 0; r < rows_.size(); ++r) logits.push_back(TwinRow(r, params));
  Tensor log_probs = torch::log_softmax(torch::cat(logits).index_select(0, targets.positions), 1);
  Tensor twin = -log_probs.gather(1, targets.targets.unsqueeze(1)).squeeze(1);
  (twin * targets.weights).sum().backward();
  EXPECT_LT(MaxError(nll, twin), 2e-5);
  EXPECT_LT(RelativeError(trainer.grad(), params.grad()), 2e-5);
  for (int64_t layer = 0; layer < layout_.num_layers(); ++layer) {  // no small matrix hides behind a large one
    for (int g = 0; g < kNumLinearGroups; ++g) {
      auto id = static_cast<LinearGroup>(g);
      for (size_t s = 0; s < layout_.group(layer, id).slots.size(); ++s) {
        EXPECT_LT(RelativeError(layout_.A(trainer.grad(), layer, id, s), layout_.A(params.grad(), layer, id, s)), 1e-4);
        EXPECT_LT(RelativeError(layout_.B(trainer.grad(), layer, id, s), layout_.B(params.grad(), layer, id, s)), 1e-4);
      }
    }
  }
}

// With dropout the mask is fixed by its key, so finite differences see a smooth function.
TEST_P(LoraTrainerTest, GradientWithDropoutEqualsFiniteDifferences) {
  PackedBatch batch = Pack();
  LossTargets targets = SomeTargets(batch);
  auto loss = [&](const Tensor& params, LoraTrainer* keep) {
    LoraWeights lora(layout_, {config_, params, ""}, torch::kFloat, torch::kCPU);
    LoraTrainer own(lora);
    LoraTrainer& trainer = keep ? *keep : own;
    trainer.SetDropout(0.3, 5);
    ForwardTape tape;
    Tensor grad_residual;
    Tensor nll = decoder_.LossAndGradient(decoder_.Forward(batch, &trainer, &tape), targets, grad_residual);
    decoder_.Backward(batch, tape, grad_residual, trainer);
    return (nll * targets.weights).sum(torch::kDouble).item<double>();
  };
  LoraTrainer trainer(lora_);
  loss(adapter_.params, &trainer);
  for (uint64_t seed = 0; seed < 3; ++seed) {
    Tensor direction = MakeRandomAdapter(weights_.config, config_, 100 + seed).params;
    double h = 2e-3;
    double slope = (loss(adapter_.params + h * direction, nullptr) - loss(adapter_.params - h * direction, nullptr)) / (2 * h);
    double expected = (trainer.grad() * direction).sum(torch::kDouble).item<double>();
    EXPECT_NEAR(slope, expected, 2e-2 * std::abs(expected) + 2e-3);
  }
}

// Rows of several adapters in one pass: each adapter gets the gradient, with dropout, that it gets alone.
TEST_P(LoraTrainerTest, AdaptersSideBySideGetTheGradientsTheyGetAlone) {
  Adapter other = MakeRandomAdapter(weights_.config, config_, 12);
  LoraWeights other_lora(layout_, other, torch::kFloat, torch::kCPU);
  auto pass = [&](LoraTrainer& trainer, const std::vector<size_t>& rows) {
    std::vector<std::span<const int32_t>> spans;
    for (size_t row : rows) spans.emplace_back(rows_[row]);
    PackedBatch batch = PackRows(spans);
    std::vector<int64_t> positions;
    for (int64_t s = 0; s < batch.num_segments(); ++s) {
      for (int64_t t = 0; t + 1 < batch.length(s); ++t) positions.push_back(batch.begin(s) + t);
    }
    Tensor position = torch::tensor(positions, torch::kLong), grad_residual;
    LossTargets targets = {position, batch.ids.index_select(0, position + 1), torch::ones({position.size(0)})};
    ForwardTape tape;
    Tensor nll = decoder_.LossAndGradient(decoder_.Forward(batch, &trainer, &tape), targets, grad_residual);
    decoder_.Backward(batch, tape, grad_residual, trainer);
    return nll;
  };
  LoraTrainer first(lora_), second(other_lora);
  first.SetDropout(0.2, 21);
  second.SetDropout(0.3, 22);
  pass(first, {0, 2});
  pass(second, {3});

  // The first adapter's second row shares a pass with the other's; its masks go on from place 13.
  Tensor grad = torch::zeros_like(first.grad()), other_grad = torch::zeros_like(grad);
  LoraTrainer both;
  both.SetRuns({{&lora_, grad, 0, 13, {0.2, 21}, 0}});
  pass(both, {0});
  both.SetRuns({{&lora_, grad, 0, 9, {0.2, 21}, 13}, {&other_lora, other_grad, 9, 33, {0.3, 22}, 0}});
  pass(both, {2, 3});
  EXPECT_LT(RelativeError(grad, first.grad()), 1e-6);
  EXPECT_LT(RelativeError(other_grad, second.grad()), 1e-6);
}

TEST_P(LoraTrainerTest, CachedDecodingEqualsTheFullForward) {
  std::vector<int32_t> tokens = rows_[3];
  LoraMix one({&lora_});
  Tensor full = decoder_.Logits(decoder_.Forward(PackRows({tokens}), &one));
  KvCache cache(weights_.config, torch::kFloat, torch::kCPU, 4);  // grows on the way
  std::vector<size_t> cuts = {0, 7, 8, 9, 15, 24};  // a prompt, single tokens, and longer continuations
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    PackedBatch batch = PackRows({std::span(tokens).subspan(cuts[i], cuts[i + 1] - cuts[i])});
    batch.caches = {&cache};
    Tensor logits = decoder_.Logits(decoder_.Forward(batch, &one));
    auto begin = static_cast<int64_t>(cuts[i]), count = static_cast<int64_t>(cuts[i + 1] - cuts[i]);
    EXPECT_LT(MaxError(logits, full.narrow(0, begin, count)), 2e-5) << "from position " << begin;
  }
  EXPECT_EQ(cache.length(), 24);
}

TEST_P(LoraTrainerTest, EachSegmentOfAMixFollowsItsOwnAdapter) {
  Adapter other = MakeRandomAdapter(weights_.config, config_, 12);
  LoraWeights other_lora(layout_, other, torch::kFloat, torch::kCPU);
  PackedBatch batch = Pack();
  LoraMix mix({&lora_, &other_lora, nullptr, &lora_});
  Tensor logits = decoder_.Logits(decoder_.Forward(batch, &mix));
  std::vector<Tensor> params = {adapter_.params, other.params, Tensor(), adapter_.params};
  for (size_t r = 0; r < rows_.size(); ++r) {
    EXPECT_LT(MaxError(logits.narrow(0, batch.begin(r), batch.length(r)), TwinRow(r, params[r])), 2e-5) << "row " << r;
  }
}

TEST_P(LoraTrainerTest, MixedLogitsAreTheWeightedSum) {
  Tensor residual = decoder_.Forward(Pack(), nullptr).narrow(0, 0, 5);
  Tensor weights = torch::tensor({0.2f, 0.0f, 1.3f, 0.4f, -0.1f, 0.0f, 1.0f, 0.0f, 0.0f, 0.0f}).view({2, 5});
  Tensor expected = at::mm(weights, decoder_.Logits(residual));
  EXPECT_LT(MaxError(decoder_.MixedLogits(residual, weights), expected), 2e-5);
  // One member of weight 1 is that member alone.
  Tensor alone = decoder_.MixedLogits(residual.narrow(0, 1, 1), torch::ones({1, 1}));
  EXPECT_LT(MaxError(decoder_.MixedLogits(residual, weights).narrow(0, 1, 1), alone), 1e-6);
}

TEST_P(LoraTrainerTest, ASequenceBeyondTheContextIsRefused) {
  std::vector<int32_t> tokens(weights_.config.context_length + 1, 1);
  try {
    decoder_.Forward(PackRows({tokens}), nullptr);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    EXPECT_NE(error.message().find(std::to_string(tokens.size())), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, LoraTrainerTest,
                         testing::Values(Family{"llama", TinyLlamaConfig}, Family{"gemma3", TinyGemma3Config}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace elrea
