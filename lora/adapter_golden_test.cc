// PEFT's adapters with its various options, and merges of them, against the logits that PEFT itself computes
// (tools/oracle/adapter_peft.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/expect_error.h"
#include "core/safetensors.h"
#include "core/temp_dir.h"
#include "lora/adapter_file.h"
#include "lora/fold.h"
#include "lora/gguf_adapter.h"
#include "lora/lora_trainer.h"
#include "lora/merge.h"
#include "lora/probe.h"
#include "lora/tensor_file.h"
#include "model/decoder.h"
#include "model/rewrite_checkpoint.h"

namespace elrea {
namespace {

using torch::Tensor;

const fs::path kGolden = ELREA_SOURCE_DIR "/tests/golden";
const fs::path kAdapters = kGolden / "adapters";

double MaxError(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

class AdapterGolden : public testing::Test {
 protected:
  Adapter Load(const std::string& name) const { return LoadAdapter(kAdapters / name, decoder_.config()); }
  Tensor Logits(const Adapter& adapter) const {
    const TensorView& tokens = golden_.Get("tokens");
    const auto* ids = reinterpret_cast<const int64_t*>(tokens.bytes.data());
    const std::vector<int32_t> text(ids, ids + tokens.shape[0]);
    const AdapterLayout layout(decoder_.config(), adapter.config);
    const LoraWeights lora(layout, adapter, torch::kFloat, torch::kCPU);
    LoraTrainer trainer(lora);
    return decoder_.Logits(decoder_.Forward(PackRows({text}), &trainer));
  }
  Adapter Merge(const MergeOptions& options) const {
    return MergeAdapters({Load("first"), Load("second")}, {0.7, -0.4}, decoder_.config(), options);
  }

  Decoder decoder_{LoadModelWeights(kGolden / "family_qwen2", torch::kFloat)};
  SafetensorsFile golden_{kAdapters / "golden.safetensors"};
  TempDir temp_;
};

class AdapterOptions : public AdapterGolden, public testing::WithParamInterface<const char*> {};

TEST_P(AdapterOptions, LogitsEqualPefts) {
  const Adapter adapter = Load(GetParam());
  EXPECT_LT(MaxError(Logits(adapter), LoadFloat(golden_, std::string("logits.") + GetParam())), 2e-5);
}

TEST_P(AdapterOptions, SurvivesPeftAndGgufFiles) {
  const Adapter adapter = Load(GetParam());
  SaveAdapter(temp_ / "peft", adapter, decoder_.config(), "tiny", {{"elrea.checked", "{}"}});
  SaveGgufAdapter(temp_ / "lora.gguf", adapter, decoder_.config(), {{"elrea.checked", "{}"}});
  EXPECT_TRUE(Logits(LoadAdapter(temp_ / "peft", decoder_.config())).equal(Logits(adapter)));
  EXPECT_LT(MaxError(Logits(LoadAdapter(temp_ / "lora.gguf", decoder_.config())), Logits(adapter)), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Options, AdapterOptions,
                         testing::Values("first", "second", "patterns", "rslora", "one_layer", "expression", "bf16",
                                         "sharded"),
                         [](const auto& info) { return std::string(info.param); });

class AdapterMerge : public AdapterGolden, public testing::WithParamInterface<const char*> {};

TEST_P(AdapterMerge, LogitsEqualPefts) {
  const Adapter merged = Merge({.method = GetParam(), .density = 0.6, .rank = 3});
  EXPECT_LT(MaxError(Logits(merged), LoadFloat(golden_, std::string("merged.") + GetParam())), 5e-5);
}

INSTANTIATE_TEST_SUITE_P(Methods, AdapterMerge, testing::Values("linear", "cat", "svd", "ties", "ties_svd"),
                         [](const auto& info) { return std::string(info.param); });

TEST_F(AdapterGolden, CatIsTheSumOfTheUpdatesAndSvdOfFullRankToo) {
  const Tensor sum = ProbeLogits(decoder_, {Load("first"), Load("second")}, {0.7, -0.4});
  const Adapter cat = Merge({.method = "cat"});
  EXPECT_EQ(cat.config.rank, 4);
  EXPECT_LT(MaxError(ProbeLogits(decoder_, {cat}, {1.0}), sum), 5e-5);
  EXPECT_LT(MaxError(ProbeLogits(decoder_, {Merge({.method = "svd", .rank = 4})}, {1.0}), sum), 5e-5);
  EXPECT_GT(MaxError(ProbeLogits(decoder_, {Merge({.method = "svd", .rank = 1})}, {1.0}), sum), 1e-3);
}

TEST_F(AdapterGolden, DareKeepsItsShareAndItsMean) {
  const Adapter all = Merge({.method = "dare_linear", .density = 1}), linear = Merge({.method = "linear"});
  EXPECT_TRUE(all.params.equal(linear.params));
  EXPECT_TRUE(Merge({.method = "dare_ties", .density = 1}).params.equal(Merge({.method = "ties", .density = 1}).params));
  // One adapter alone: what is kept is scaled by 1 / density, and its mean over seeds is the whole.
  const Adapter one = Load("first");
  Tensor mean = torch::zeros_like(one.params);
  constexpr int kSeeds = 400;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const Adapter pruned =
        MergeAdapters({one}, {1.0}, decoder_.config(), {.method = "dare_linear", .density = 0.5, .seed = seed});
    const double kept = pruned.params.ne(0).to(torch::kFloat).mean().item<double>();
    EXPECT_NEAR(kept, 0.5, 0.05);
    mean += pruned.params / kSeeds;
  }
  const Adapter whole = MergeAdapters({one}, {1.0}, decoder_.config(), {.method = "linear"});
  EXPECT_LT(((mean - whole.params).norm() / whole.params.norm()).item<double>(), 0.08);  // 1 / sqrt(400) = 0.05
}

TEST_F(AdapterGolden, MergingRefusesWhatItCannotDo) {
  const auto merge = [&](std::vector<double> weights, MergeOptions options, const char* other = "second") {
    return [=, this] { MergeAdapters({Load("first"), Load(other)}, weights, decoder_.config(), options); };
  };
  ExpectError(ErrorKind::kInvalidInput, {"mystery"}, merge({1, 1}, {.method = "mystery"}));
  ExpectError(ErrorKind::kInvalidInput, {"1 weights"}, merge({1}, {.method = "cat"}));
  ExpectError(ErrorKind::kInvalidInput, {"density"}, merge({1, 1}, {.method = "ties", .density = 0}));
  ExpectError(ErrorKind::kInvalidInput, {"equal ranks"}, merge({1, 1}, {.method = "linear"}, "rslora"));
}

// Both formats, and the fused matrices of Phi-3.
class AdapterFold : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(AdapterFold, TheFoldedModelIsTheModelWithTheAdapter) {
  const auto [family, file] = GetParam();
  const TempDir temp;
  const fs::path folder = kGolden / (std::string("family_") + family), source = *file ? folder / file : folder;
  ModelWeights weights = LoadModelWeights(source, torch::kFloat);
  const Adapter adapter = LoadAdapter(folder / "adapter", weights.config);
  const Tensor expected = ProbeLogits(Decoder(weights), {adapter}, {1.0});
  const auto folded =
      FoldAdapter(weights, adapter, *file ? CheckpointFormat::kGguf : CheckpointFormat::kHuggingFace);
  RewriteCheckpoint(source, temp / "folded.gguf", folded, "{}");
  const Decoder back(LoadModelWeights(temp / "folded.gguf", torch::kFloat));
  const ProbeAgreement agreement = CompareProbes(expected, ProbeLogits(back));
  EXPECT_LT(agreement.max_difference, 0.02 * agreement.largest_logit);  // stored in bf16
  EXPECT_GT(CompareProbes(expected, ProbeLogits(Decoder(LoadModelWeights(source, torch::kFloat)))).max_difference,
            0.1 * agreement.largest_logit);
  EXPECT_EQ(fs::exists(temp / "folded.gguf" / "config.json"), *file == 0);
}

INSTANTIATE_TEST_SUITE_P(Formats, AdapterFold,
                         testing::Values(std::pair("llama", ""), std::pair("llama", "model.gguf"), std::pair("phi3", ""),
                                         std::pair("phi3", "model.gguf"), std::pair("gemma2", "")),
                         [](const auto& info) {
                           return std::string(info.param.first) + (*info.param.second ? "_gguf" : "");
                         });

}  // namespace
}  // namespace elrea
