// Configurations from both formats: against each other, against what transformers reads from the packaged
// models (tools/oracle/model_config.py), and damaged ones.
#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "core/error.h"
#include "core/gguf.h"
#include "model/testing.h"

namespace elrea {
namespace {

const fs::path kGolden = ELREA_SOURCE_DIR "/tests/golden";

// Every field; GGUF stores numbers as f32, so those may differ by one rounding.
void ExpectSameConfig(const ModelConfig& a, const ModelConfig& b) {
  const Json left = a.ToJson(), right = b.ToJson();
  for (const auto& [key, value] : left.items()) {
    if (key == "norm_adds_one") continue;  // says how the file stores norms
    if (value.is_number_float()) {
      const double expected = right.at(key).get<double>();
      EXPECT_NEAR(value.get<double>(), expected, 1e-7 * std::abs(expected)) << key;
    } else {
      EXPECT_EQ(value, right.at(key)) << key;
    }
  }
}

ModelConfig FromGolden(const std::string& name) {
  const fs::path path = kGolden / name;
  return ModelConfig::FromHuggingFace(ReadJsonFile(path), path.string());
}

// The error that `body` ends with; an Error of kInternal when there was none.
Error CatchError(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return Error(ErrorKind::kInternal, "no error");
}

void ExpectRefused(const Json& config, ErrorKind kind, const std::string& culprit) {
  const Error error = CatchError([&] { ModelConfig::FromHuggingFace(config, "config.json"); });
  EXPECT_EQ(error.kind(), kind) << error.what();
  EXPECT_NE(error.message().find(culprit), std::string::npos) << error.what();
  EXPECT_NE(error.message().find("config.json"), std::string::npos) << error.what();
}

TEST(ModelConfig, ReadsSmolLM2AsTransformersDoes) {
  const ModelConfig c = FromGolden("model_config_smollm2.json");
  EXPECT_EQ(c.family, "llama");
  EXPECT_EQ(c.layers, 30);
  EXPECT_EQ(c.heads, 9);
  EXPECT_EQ(c.kv_heads, 3);
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_EQ(c.rope_theta, 1e5);
  EXPECT_EQ(c.attention_scale, 0.125);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_TRUE(c.layer_is_sliding.empty());
}

TEST(ModelConfig, ReadsGemma3AsTransformersDoes) {
  const ModelConfig c = FromGolden("model_config_gemma3.json");
  EXPECT_EQ(c.family, "gemma3");
  EXPECT_EQ(c.vocab, 262144);
  EXPECT_EQ(c.rope_theta, 1e6);
  EXPECT_EQ(c.rope_theta_local, 1e4);
  EXPECT_EQ(c.sliding_window, 512);
  EXPECT_EQ(c.attention_scale, 1.0 / 16);
  EXPECT_EQ(c.embedding_scale, std::sqrt(640.0));
  EXPECT_EQ(c.activation, Activation::kGeluTanh);
  EXPECT_TRUE(c.qk_norm && c.post_norms && c.norm_adds_one && c.tied_embeddings);
  ASSERT_EQ(c.layer_is_sliding.size(), 18u);
  for (size_t i = 0; i < 18; ++i) EXPECT_EQ(c.layer_is_sliding[i], i % 6 != 5) << i;
}

class PackagedModel : public testing::TestWithParam<std::pair<const char*, const char*>> {};

// The packaged model's own metadata gives what transformers reads from it.
TEST_P(PackagedModel, GgufAndTransformersAgree) {
  const fs::path path = UserCacheDir() / "models" / GetParam().second;
  if (!fs::exists(path)) GTEST_SKIP() << "run `elrea model fetch " << GetParam().first << "` first";
  const ModelConfig expected = FromGolden(std::string("model_config_") + GetParam().first + ".json");
  ExpectSameConfig(ModelConfig::FromGguf(GgufFile(path)), expected);
}

INSTANTIATE_TEST_SUITE_P(Both, PackagedModel,
                         testing::Values(std::pair("smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
                                         std::pair("gemma3", "gemma-3-270m-q4_k_m.gguf")),
                         [](const auto& info) { return info.param.first; });

TEST(ModelConfig, TinyGgufEqualsItsHuggingFaceTwin) {
  for (const char* name : {"model_tiny_llama", "model_tiny_gemma3"}) {
    SCOPED_TRACE(name);
    const ModelConfig from_gguf = ModelConfig::FromGguf(GgufFile(kGolden / name / "model.gguf"));
    ExpectSameConfig(from_gguf, FromGolden(std::string(name) + "/config.json"));
    EXPECT_FALSE(from_gguf.norm_adds_one);
  }
}

TEST(ModelConfig, HuggingFaceFormReadsBack) {
  for (const ModelConfig& config : {TinyLlamaConfig(), TinyGemma3Config()}) {
    ExpectSameConfig(ModelConfig::FromHuggingFace(HuggingFaceConfig(config), "tiny"), config);
  }
}

// transformers 4 wrote rope keys at the top level and left tied Gemma embeddings and layer kinds unsaid.
TEST(ModelConfig, ReadsVersion4Spellings) {
  Json config = HuggingFaceConfig(TinyGemma3Config());
  config.erase("rope_parameters");
  config.erase("layer_types");
  config.erase("tie_word_embeddings");
  config["rope_theta"] = 5e5;
  config["rope_local_base_freq"] = 2e4;
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 8.0}};
  config["sliding_window_pattern"] = 2;
  const ModelConfig c = ModelConfig::FromHuggingFace(config, "config.json");
  EXPECT_EQ(c.rope_theta, 5e5);
  EXPECT_EQ(c.rope_theta_local, 2e4);
  EXPECT_EQ(c.rope_scaling.factor, 8);
  EXPECT_EQ(c.layer_is_sliding, (std::vector<bool>{true, false, true, false}));
  EXPECT_TRUE(c.tied_embeddings);
}

TEST(ModelConfig, RefusesWhatTheDecoderDoesNotKnow) {
  const Json good = HuggingFaceConfig(TinyLlamaConfig());
  const auto with = [&](const char* key, const Json& value) {
    Json config = good;
    config[key] = value;
    return config;
  };
  ExpectRefused(with("architectures", {"MambaForCausalLM"}), ErrorKind::kInvalidInput, "MambaForCausalLM");
  ExpectRefused(with("num_local_experts", 8), ErrorKind::kInvalidInput, "num_local_experts");
  ExpectRefused(with("position_embedding_type", "alibi"), ErrorKind::kInvalidInput, "alibi");
  ExpectRefused(with("attn_logit_softcapping", 50.0), ErrorKind::kInvalidInput, "attn_logit_softcapping");
  ExpectRefused(with("partial_rotary_factor", 0.5), ErrorKind::kInvalidInput, "partial_rotary_factor");
  ExpectRefused(with("hidden_act", "relu"), ErrorKind::kInvalidInput, "relu");
  ExpectRefused(with("quantization_config", {{"quant_method", "gptq"}}), ErrorKind::kInvalidInput, "gptq");
  ExpectRefused(with("rope_parameters", {{"rope_type", "proportional"}}), ErrorKind::kInvalidInput, "proportional");
  ExpectRefused(with("rope_parameters", {{"rope_type", "default"}, {"alpha", 2}}), ErrorKind::kInvalidInput, "alpha");
  ExpectRefused(with("rope_parameters", {{"rope_type", "linear"}}), ErrorKind::kCorrupt, "factor");
  ExpectRefused(with("rope_parameters", {{"rope_type", "llama3"}, {"factor", 8}}), ErrorKind::kCorrupt,
                "low_freq_factor");
  ExpectRefused(with("rope_parameters", {{"rope_type", "yarn"}, {"factor", -1}}), ErrorKind::kInvalidInput,
                "factor is -1");
  // Switched off, or of no effect.
  for (const auto& [key, value] : std::vector<std::pair<const char*, Json>>{
           {"num_local_experts", nullptr}, {"logit_scale", 0.0}, {"unk_token_id", 3}, {"_flag", true}}) {
    EXPECT_NO_THROW(ModelConfig::FromHuggingFace(with(key, value), "config.json")) << key;
  }
}

ModelConfig FromFamily(const std::string& name, const std::function<void(Json&)>& change) {
  Json config = ReadJsonFile(kGolden / ("family_" + name) / "config.json");
  change(config);
  return ModelConfig::FromHuggingFace(config, "config.json");
}

TEST(ModelConfig, RopeThatDependsOnTheLengthBoundsIt) {
  const ModelConfig phi = FromFamily("phi3", [](Json&) {});
  EXPECT_EQ(phi.context_length, 64);  // beyond, the long factors hold
  EXPECT_NEAR(phi.rope_scaling.attention_factor, std::sqrt(1 + std::log(2.0) / std::log(64.0)), 1e-12);
  const ModelConfig qwen = FromFamily("qwen2", [](Json&) {});  // dynamic
  EXPECT_EQ(qwen.context_length, 128);
  EXPECT_EQ(qwen.rope_scaling.kind, RopeScaling::Kind::kNone);
}

TEST(ModelConfig, WindowsFollowTheirSwitches) {
  using Layers = std::vector<bool>;
  EXPECT_EQ(FromFamily("qwen2_window", [](Json& c) { c.erase("layer_types"); }).layer_is_sliding,
            (Layers{false, true, true}));
  EXPECT_TRUE(FromFamily("qwen2_window", [](Json& c) { c["use_sliding_window"] = false; }).layer_is_sliding.empty());
  EXPECT_EQ(FromFamily("mistral", [](Json&) {}).layer_is_sliding, (Layers{true, true}));
  EXPECT_TRUE(FromFamily("mistral", [](Json& c) { c["sliding_window"] = nullptr; }).layer_is_sliding.empty());
  EXPECT_EQ(FromFamily("mistral", [](Json& c) { c.erase("sliding_window"); }).sliding_window, 4096);
  EXPECT_EQ(FromFamily("gemma2", [](Json& c) { c.erase("layer_types"); }).layer_is_sliding, (Layers{true, false, true}));
}

TEST(ModelConfig, SmolLM3LeavesLayersUnrotated) {
  using Layers = std::vector<bool>;
  const Layers expected = {false, false, false, true, false};
  EXPECT_EQ(FromFamily("smollm3", [](Json&) {}).layer_skips_rope, expected);
  EXPECT_EQ(FromFamily("smollm3", [](Json& c) { c.erase("no_rope_layers"); }).layer_skips_rope, expected);
  EXPECT_EQ(FromFamily("smollm3", [](Json& c) { c["no_rope_layers"] = {0, 1, 1, 1, 1}; }).layer_skips_rope,
            (Layers{true, false, false, false, false}));
  const Error error = CatchError([] { FromFamily("smollm3", [](Json& c) { c["no_rope_layers"] = {0, 1}; }); });
  EXPECT_NE(error.message().find("5 layers"), std::string::npos) << error.what();
}

TEST(ModelConfig, RefusesContradictions) {
  const Json good = HuggingFaceConfig(TinyLlamaConfig());
  const auto with = [&](const char* key, const Json& value) {
    Json config = good;
    config[key] = value;
    return config;
  };
  ExpectRefused(with("model_type", "gemma3_text"), ErrorKind::kCorrupt, "model_type");
  ExpectRefused(with("num_key_value_heads", 3), ErrorKind::kInvalidInput, "kv_heads (3)");
  ExpectRefused(with("head_dim", 7), ErrorKind::kInvalidInput, "head_dim (7)");
  ExpectRefused(with("vocab_size", 0), ErrorKind::kInvalidInput, "vocab is 0");
  ExpectRefused(with("num_hidden_layers", 4000000000), ErrorKind::kInvalidInput, "layers is 4000000000");
  ExpectRefused(with("rms_norm_eps", -1), ErrorKind::kInvalidInput, "norm_eps");
  ExpectRefused(with("hidden_size", "large"), ErrorKind::kCorrupt, "hidden_size");
  ExpectRefused(Json::array(), ErrorKind::kCorrupt, "config.json");
  Json missing = good;
  missing.erase("intermediate_size");
  ExpectRefused(missing, ErrorKind::kCorrupt, "intermediate_size");
  Json two = with("vocab_size", -5);
  two["rms_norm_eps"] = 0;
  const Error error = CatchError([&] { ModelConfig::FromHuggingFace(two, "config.json"); });
  EXPECT_NE(error.message().find("vocab"), std::string::npos) << error.what();
  EXPECT_NE(error.message().find("norm_eps"), std::string::npos)
      << "all faults in one message: " << error.what();
}

TEST(ModelConfig, RefusesContradictorySlidingLayers) {
  Json config = HuggingFaceConfig(TinyGemma3Config());
  config["layer_types"] = {"sliding_attention"};
  ExpectRefused(config, ErrorKind::kInvalidInput, "4 layers");
  config["layer_types"] = {"sliding_attention", "linear_attention"};
  ExpectRefused(config, ErrorKind::kInvalidInput, "linear_attention");
  config.erase("layer_types");
  config["sliding_window_pattern"] = 0;
  ExpectRefused(config, ErrorKind::kInvalidInput, "pattern is 0");
  config["sliding_window_pattern"] = 2;
  config["sliding_window"] = 0;
  ExpectRefused(config, ErrorKind::kInvalidInput, "sliding_window");
}

}  // namespace
}  // namespace elrea
