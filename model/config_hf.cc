// ModelConfig from a Hugging Face config.json. A key left out or null has the value transformers gives it; a
// key that is not known is refused by name. Source: transformers' configuration classes of the families, in the
// spellings of its versions 4 and 5.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/text.h"
#include "model/config.h"
#include "model/config_hf_keys.h"
#include "model/config_hf_rope.h"
#include "model/family.h"

namespace elrea {
namespace {

// architectures[0], or else the one whose model_type it is.
const Family& FindFamily(const Json& config, const std::string& origin) {
  const auto architectures = JsonFieldOr<std::vector<std::string>>(config, "architectures", {}, origin);
  const auto model_type = JsonFieldOr<std::string>(config, "model_type", "", origin);
  std::vector<std::string> known;
  for (const Family& family : Families()) {
    known.push_back(family.hf_architecture);
    if (architectures.empty() ? family.hf_model_type != model_type
                              : family.hf_architecture != architectures[0]) {
      continue;
    }
    if (!model_type.empty() && model_type != family.hf_model_type) {
      throw Error(
          ErrorKind::kCorrupt,
          fmt::format("{}: model_type \"{}\" contradicts the architecture {}, whose type is \"{}\"; correct "
                      "one of them",
                      origin, model_type, family.hf_architecture, family.hf_model_type));
    }
    return family;
  }
  RefuseConfigValue(origin, architectures.empty() ? "model_type" : "architectures",
                    "\"" + (architectures.empty() ? model_type : architectures[0]) + "\"",
                    "one of the architectures " + Join(known, ", "));
}

void ReadSizes(const Json& config, const std::string& origin, const Family& family, ModelConfig& c) {
  c.vocab = JsonField<int64_t>(config, "vocab_size", origin);
  c.dim = JsonField<int64_t>(config, "hidden_size", origin);
  c.layers = JsonField<int64_t>(config, "num_hidden_layers", origin);
  c.heads = JsonField<int64_t>(config, "num_attention_heads", origin);
  c.kv_heads = JsonFieldOr<int64_t>(config, "num_key_value_heads", c.heads, origin);
  c.ffn = JsonField<int64_t>(config, "intermediate_size", origin);
  c.context_length = JsonField<int64_t>(config, "max_position_embeddings", origin);
  const int64_t split_dim = c.heads > 0 ? c.dim / c.heads : 0;
  c.head_dim =
      JsonFieldOr<int64_t>(config, "head_dim", family.hf_head_dim ? family.hf_head_dim : split_dim, origin);
  if (!IsSetInConfig(config, "head_dim") && !family.hf_head_dim && c.heads > 0 && c.dim % c.heads != 0) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("{}: hidden_size ({}) is no multiple of num_attention_heads ({}), and head_dim is not "
                    "given; correct one of them",
                    origin, c.dim, c.heads));
  }
}

// The window, or 0: explicit null means none, a missing key the family's default.
int64_t ReadWindow(const Json& config, const std::string& origin, const Family& family) {
  if (config.contains("sliding_window") && config["sliding_window"].is_null()) return 0;
  return JsonFieldOr<int64_t>(config, "sliding_window", family.defaults.sliding_window, origin);
}

void ReadLayerTypes(const Json& config, const std::string& origin, ModelConfig& c) {
  for (const auto& type : JsonField<std::vector<std::string>>(config, "layer_types", origin)) {
    if (type != "sliding_attention" && type != "full_attention") {
      RefuseConfigValue(origin, "layer_types", "\"" + type + "\"", "sliding_attention and full_attention layers");
    }
    c.layer_is_sliding.push_back(type == "sliding_attention");
  }
}

// Layers from `begin` on slide; empty for a number of layers that Validate refuses.
std::vector<bool> SlidingFrom(int64_t begin, int64_t layers) {
  std::vector<bool> sliding;
  if (layers > kMaxModelLayers) return sliding;
  for (int64_t i = 0; i < layers; ++i) sliding.push_back(i >= begin);
  return sliding;
}

// The layers that slide where config.json does not list them.
std::vector<bool> UsualSlidingLayers(const Json& config, const std::string& origin, const Family& family,
                                     const ModelConfig& c) {
  switch (family.sliding) {
    case SlidingRule::kAlways:
      return SlidingFrom(0, c.layers);
    case SlidingRule::kOnRequest:
      return SlidingFrom(JsonFieldOr<int64_t>(config, "max_window_layers", 28, origin), c.layers);
    case SlidingRule::kNopeOnRequest:
      return c.layer_skips_rope;
    default: {
      const int64_t pattern =
          JsonFieldOr<int64_t>(config, "_sliding_window_pattern", family.sliding_pattern, origin);
      return SlidingLayers(c.layers, JsonFieldOr<int64_t>(config, "sliding_window_pattern", pattern, origin), origin);
    }
  }
}

void ReadSliding(const Json& config, const std::string& origin, const Family& family, ModelConfig& c) {
  c.sliding_window = 0;
  if (family.sliding == SlidingRule::kNever) return;
  const bool on_request =
      family.sliding == SlidingRule::kOnRequest || family.sliding == SlidingRule::kNopeOnRequest;
  if (on_request && !JsonFieldOr<bool>(config, "use_sliding_window", false, origin)) return;
  c.sliding_window = ReadWindow(config, origin, family);
  if (c.sliding_window == 0 && family.sliding != SlidingRule::kPattern) return;
  if (family.sliding != SlidingRule::kAlways && IsSetInConfig(config, "layer_types")) {
    return ReadLayerTypes(config, origin, c);
  }
  c.layer_is_sliding = UsualSlidingLayers(config, origin, family, c);
}

// no_rope_layers has 1 where a layer rotates.
void ReadNope(const Json& config, const std::string& origin, const Family& family, ModelConfig& c) {
  if (family.nope_interval == 0) return;
  if (!IsSetInConfig(config, "no_rope_layers")) {
    const auto interval = JsonFieldOr<int64_t>(config, "no_rope_layer_interval", family.nope_interval, origin);
    c.layer_skips_rope = NopeLayers(c.layers, interval, origin);
    return;
  }
  for (const int64_t rotates : JsonField<std::vector<int64_t>>(config, "no_rope_layers", origin)) {
    c.layer_skips_rope.push_back(rotates == 0);
  }
}

void ReadActivation(const Json& config, const std::string& origin, ModelConfig& c) {
  const char* key = IsSetInConfig(config, "hidden_activation") ? "hidden_activation" : "hidden_act";
  if (!IsSetInConfig(config, key)) return;
  auto name = JsonField<std::string>(config, key, origin);
  // The first Gemma checkpoints say "gelu" and mean the approximation, as transformers knows too.
  if (name == "gelu" && c.activation == Activation::kGeluTanh) name = "gelu_pytorch_tanh";
  if (name == "silu" || name == "swish") {
    c.activation = Activation::kSilu;
  } else if (name == "gelu_pytorch_tanh") {
    c.activation = Activation::kGeluTanh;
  } else {
    RefuseConfigValue(origin, key, "\"" + name + "\"", "silu or gelu_pytorch_tanh");
  }
}

void ReadScales(const Json& config, const std::string& origin, const Family& family, ModelConfig& c) {
  const double usual = family.hf_query_scalar > 0 ? family.hf_query_scalar : static_cast<double>(c.head_dim);
  const double scalar = JsonFieldOr<double>(config, "query_pre_attn_scalar", usual, origin);
  c.attention_scale = scalar > 0 ? 1 / std::sqrt(scalar) : 0;
  if (family.scales_embedding && c.dim > 0) c.embedding_scale = std::sqrt(static_cast<double>(c.dim));
  for (const auto& [key, cap] : {std::pair("attn_logit_softcapping", &c.attn_logit_softcap),
                                 std::pair("final_logit_softcapping", &c.final_logit_softcap)}) {
    if (config.contains(key)) *cap = JsonFieldOr<double>(config, key, 0, origin);  // null: none
  }
}

void ReadBiases(const Json& config, const std::string& origin, ModelConfig& c) {
  c.o_bias = JsonFieldOr<bool>(config, "attention_bias", false, origin);
  c.qkv_bias = c.qkv_bias || c.o_bias;  // Qwen 2 has those of q, k and v whatever the file says
  c.mlp_bias = JsonFieldOr<bool>(config, "mlp_bias", false, origin);
}

}  // namespace

ModelConfig ModelConfig::FromHuggingFace(const Json& config, const std::string& origin) {
  const Family& family = FindFamily(config, origin);
  RefuseUnknownKeys(config, origin, family);
  ModelConfig c = family.defaults;
  ReadSizes(config, origin, family, c);
  c.tied_embeddings = JsonFieldOr<bool>(config, "tie_word_embeddings", c.tied_embeddings, origin);
  c.norm_eps = JsonFieldOr<double>(config, "rms_norm_eps", c.norm_eps, origin);
  ReadHuggingFaceRope(config, origin, family, c);
  ReadNope(config, origin, family, c);
  ReadSliding(config, origin, family, c);
  ReadActivation(config, origin, c);
  ReadBiases(config, origin, c);
  ReadScales(config, origin, family, c);
  c.Validate(origin);
  return c;
}

}  // namespace elrea
