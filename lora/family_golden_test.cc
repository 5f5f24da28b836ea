// Every family against what transformers and PEFT compute from the same tiny checkpoint with the family's switches on
// (tools/oracle/model_families.py): logits, logits under an adapter, the adapter's gradients, the same from GGUF, and
// decoding token by token.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/safetensors.h"
#include "lora/adapter_file.h"
#include "lora/lora_mix.h"
#include "lora/lora_trainer.h"
#include "lora/tensor_file.h"
#include "model/decoder.h"
#include "model/kv_cache.h"

namespace elrea {
namespace {

using torch::Tensor;

constexpr int kTexts = 3;

double MaxError(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

class FamilyGolden : public testing::TestWithParam<const char*> {
 protected:
  FamilyGolden()
      : folder_(fs::path(ELREA_SOURCE_DIR "/tests/golden") / (std::string("family_") + GetParam())),
        golden_(folder_ / "golden.safetensors"),
        decoder_(LoadModelWeights(folder_, torch::kFloat)),
        adapter_(LoadAdapter(folder_ / "adapter", decoder_.config())),
        layout_(decoder_.config(), adapter_.config),
        lora_(layout_, adapter_, torch::kFloat, torch::kCPU) {
    for (int i = 0; i < kTexts; ++i) {
      const TensorView& tokens = golden_.Get("tokens_" + std::to_string(i));
      const auto* ids = reinterpret_cast<const int64_t*>(tokens.bytes.data());
      texts_.emplace_back(ids, ids + tokens.shape[0]);
    }
  }

  Tensor Golden(const std::string& what, int i) const { return LoadFloat(golden_, what + "_" + std::to_string(i)); }
  PackedBatch AllTexts() const { return PackRows({texts_.begin(), texts_.end()}); }

  void ExpectLogits(const Decoder& decoder, LinearDelta* delta, const std::string& what) const {
    const PackedBatch batch = AllTexts();
    const Tensor logits = decoder.Logits(decoder.Forward(batch, delta));
    for (int i = 0; i < kTexts; ++i) {
      EXPECT_LT(MaxError(logits.narrow(0, batch.begin(i), batch.length(i)), Golden(what, i)), 2e-5)
          << what << " of text " << i;
    }
  }

  // Targets of all texts with the weights that make the loss the sum of their means.
  LossTargets NextTokens(const PackedBatch& batch) const {
    std::vector<int64_t> positions, targets;
    std::vector<float> weights;
    for (int i = 0; i < kTexts; ++i) {
      for (size_t t = 1; t < texts_[i].size(); ++t) {
        positions.push_back(batch.begin(i) + static_cast<int64_t>(t) - 1);
        targets.push_back(texts_[i][t]);
        weights.push_back(1.0f / static_cast<float>(texts_[i].size() - 1));
      }
    }
    return {torch::tensor(positions, torch::kLong), torch::tensor(targets, torch::kLong), torch::tensor(weights)};
  }

  fs::path folder_;
  SafetensorsFile golden_;
  Decoder decoder_;
  Adapter adapter_;
  AdapterLayout layout_;
  LoraWeights lora_;
  std::vector<std::vector<int32_t>> texts_;
};

TEST_P(FamilyGolden, LogitsEqualTransformers) { ExpectLogits(decoder_, nullptr, "logits"); }

TEST_P(FamilyGolden, LogitsUnderAnAdapterEqualPefts) {
  LoraTrainer trainer(lora_);
  ExpectLogits(decoder_, &trainer, "adapted");
}

TEST_P(FamilyGolden, GgufGivesTheSameLogits) {
  if (!fs::exists(folder_ / "model.gguf")) GTEST_SKIP() << "GGUF does not keep this family's window";
  ExpectLogits(Decoder(LoadModelWeights(folder_ / "model.gguf", torch::kFloat)), nullptr, "logits");
}

TEST_P(FamilyGolden, AdapterGradientsEqualPefts) {
  const PackedBatch batch = AllTexts();
  const LossTargets targets = NextTokens(batch);
  LoraTrainer trainer(lora_);
  ForwardTape tape;
  Tensor grad_residual;
  const Tensor nll = decoder_.LossAndGradient(decoder_.Forward(batch, &trainer, &tape), targets, grad_residual);
  decoder_.Backward(batch, tape, grad_residual, trainer);
  const double loss = (nll * targets.weights).sum().item<double>();
  EXPECT_NEAR(loss, (Golden("loss", 1) + Golden("loss", 2)).item<double>(), 1e-5);
  int num_matrices = 0;
  ForEachAdapterMatrix(layout_, trainer.grad(), [&](const std::string& name, const Tensor& ours) {
    const Tensor theirs = LoadFloat(golden_, "gradient." + name);
    EXPECT_LT((ours - theirs).norm().item<double>(), 1e-4 * theirs.norm().item<double>()) << name;
    EXPECT_GT(theirs.norm().item<double>(), 0) << name;
    ++num_matrices;
  });
  EXPECT_EQ(num_matrices, 2 * decoder_.config().layers * (decoder_.config().fused_qkv ? 4 : 7));
}

// A prompt, then one token at a time: the attention of decoding, and rotation by position in the cache.
TEST_P(FamilyGolden, DecodingWithACacheEqualsTheWholePass) {
  LoraMix mix({&lora_});
  const std::vector<int32_t>& text = texts_.back();
  KvCache cache(decoder_.config(), torch::kFloat, torch::kCPU, 4);
  const Tensor whole = Golden("adapted", kTexts - 1);
  for (size_t begin = 0; begin < text.size();) {
    const size_t count = begin == 0 ? 5 : 1;
    PackedBatch batch = PackRows({std::span(text).subspan(begin, count)});
    batch.caches = {&cache};
    const Tensor logits = decoder_.Logits(decoder_.Forward(batch, &mix));
    EXPECT_LT(MaxError(logits, whole.narrow(0, static_cast<int64_t>(begin), static_cast<int64_t>(count))), 2e-5)
        << "at position " << begin;
    begin += count;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyGolden,
                         testing::Values("llama", "mistral", "qwen2", "qwen2_window", "qwen3", "gemma", "gemma2", "phi3", "smollm3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace elrea
