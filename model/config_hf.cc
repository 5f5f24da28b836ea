// ModelConfig from a Hugging Face config.json. A key left out or null has the value transformers gives it; a
// key that would change the numbers in a way the decoder does not know is refused by name. Source:
// transformers' LlamaConfig and Gemma3TextConfig, in the spellings of its versions 4 and 5.
#include <fmt/format.h>

#include <cmath>

#include "core/error.h"
#include "core/text.h"
#include "model/config.h"
#include "model/family.h"

namespace elrea {
namespace {

[[noreturn]] void Refuse(const std::string& origin, const std::string& key, const std::string& value,
                         const std::string& supported) {
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: \"{}\" is {}, which is not supported; use a model with {}", origin, key, value,
                          supported));
}

bool IsSet(const Json& config, const char* key) {
  const auto it = config.find(key);
  return it != config.end() && !it->is_null();
}

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
  Refuse(origin, architectures.empty() ? "model_type" : "architectures",
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
  if (!IsSet(config, "head_dim") && !family.hf_head_dim && c.heads > 0 && c.dim % c.heads != 0) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("{}: hidden_size ({}) is no multiple of num_attention_heads ({}), and head_dim is not "
                    "given; correct one of them",
                    origin, c.dim, c.heads));
  }
}

// One rope description: {"rope_type": "linear", "factor": 8, "rope_theta": 1e6}; version 4 called it "type".
void ReadRopeOf(const Json& rope, const std::string& origin, double& theta, double& scale) {
  theta = JsonFieldOr<double>(rope, "rope_theta", theta, origin);
  const auto type = JsonFieldOr<std::string>(
      rope, "rope_type", JsonFieldOr<std::string>(rope, "type", "default", origin), origin);
  if (type == "linear") {
    scale = JsonField<double>(rope, "factor", origin);
  } else if (type != "default") {
    Refuse(origin, "rope_type", "\"" + type + "\"", "linear or default rotary embeddings");
  }
}

void ReadRope(const Json& config, const std::string& origin, ModelConfig& c) {
  c.rope_theta = JsonFieldOr<double>(config, "rope_theta", c.rope_theta, origin);
  c.rope_theta_local = JsonFieldOr<double>(config, "rope_local_base_freq", c.rope_theta_local, origin);
  const char* key = IsSet(config, "rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!IsSet(config, key)) return;
  const Json& rope = config.at(key);
  const std::string place = fmt::format("{}, {}", origin, key);
  if (!IsSet(rope, "full_attention") && !IsSet(rope, "sliding_attention")) {
    ReadRopeOf(rope, place, c.rope_theta, c.rope_scale_linear);
    return;
  }
  if (IsSet(rope, "full_attention"))
    ReadRopeOf(rope.at("full_attention"), place, c.rope_theta, c.rope_scale_linear);
  double local_scale = 1;
  if (IsSet(rope, "sliding_attention"))
    ReadRopeOf(rope.at("sliding_attention"), place, c.rope_theta_local, local_scale);
  if (local_scale != 1)
    Refuse(place, "factor", "set for sliding layers", "scaling in full-attention layers only");
}

void ReadSliding(const Json& config, const std::string& origin, const Family& family, ModelConfig& c) {
  if (family.sliding_pattern == 0) return;
  c.sliding_window = JsonFieldOr<int64_t>(config, "sliding_window", c.sliding_window, origin);
  if (!IsSet(config, "layer_types")) {
    const int64_t pattern =
        JsonFieldOr<int64_t>(config, "_sliding_window_pattern", family.sliding_pattern, origin);
    c.layer_is_sliding = SlidingLayers(
        c.layers, JsonFieldOr<int64_t>(config, "sliding_window_pattern", pattern, origin), origin);
    return;
  }
  for (const auto& type : JsonField<std::vector<std::string>>(config, "layer_types", origin)) {
    if (type != "sliding_attention" && type != "full_attention") {
      Refuse(origin, "layer_types", "\"" + type + "\"", "sliding_attention and full_attention layers");
    }
    c.layer_is_sliding.push_back(type == "sliding_attention");
  }
}

void ReadActivation(const Json& config, const std::string& origin, ModelConfig& c) {
  const char* key = IsSet(config, "hidden_activation") ? "hidden_activation" : "hidden_act";
  if (!IsSet(config, key)) return;
  const auto name = JsonField<std::string>(config, key, origin);
  if (name == "silu" || name == "swish") {
    c.activation = Activation::kSilu;
  } else if (name == "gelu_pytorch_tanh") {
    c.activation = Activation::kGeluTanh;
  } else {
    Refuse(origin, key, "\"" + name + "\"", "silu or gelu_pytorch_tanh");
  }
}

// Switches the decoder does not have: absent, null, false and 0 are fine.
void RefuseUnknownSwitches(const Json& config, const std::string& origin) {
  for (const char* key :
       {"attention_bias", "mlp_bias", "attn_logit_softcapping", "use_bidirectional_attention"}) {
    if (IsSet(config, key) && config.at(key) != Json(false) && config.at(key) != Json(0)) {
      Refuse(origin, key, JsonLine(config.at(key)), "this switched off");
    }
  }
  if (IsSet(config, "quantization_config")) {
    Refuse(origin, "quantization_config", "set", "F32, F16 or BF16 tensors, or a GGUF file");
  }
}

}  // namespace

ModelConfig ModelConfig::FromHuggingFace(const Json& config, const std::string& origin) {
  const Family& family = FindFamily(config, origin);
  RefuseUnknownSwitches(config, origin);
  ModelConfig c = family.defaults;
  ReadSizes(config, origin, family, c);
  c.tied_embeddings = JsonFieldOr<bool>(config, "tie_word_embeddings", c.tied_embeddings, origin);
  c.norm_eps = JsonFieldOr<double>(config, "rms_norm_eps", c.norm_eps, origin);
  c.final_logit_softcap = JsonFieldOr<double>(config, "final_logit_softcapping", 0, origin);
  ReadRope(config, origin, c);
  ReadSliding(config, origin, family, c);
  ReadActivation(config, origin, c);
  const auto head_dim = static_cast<double>(c.head_dim);
  const double scalar = JsonFieldOr<double>(config, "query_pre_attn_scalar", head_dim, origin);
  c.attention_scale = scalar > 0 ? 1 / std::sqrt(scalar) : 0;
  if (family.scales_embedding && c.dim > 0) c.embedding_scale = std::sqrt(static_cast<double>(c.dim));
  c.Validate(origin);
  return c;
}

}  // namespace elrea
