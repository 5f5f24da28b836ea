// Source: transformers' modeling_rope_utils (versions 4 and 5), Phi3Config and Gemma3TextConfig.
//
// Two kinds depend on the length of the text. "dynamic" changes nothing up to max_position_embeddings, which is the
// most a sequence may have here anyway. "longrope" takes its short factors up to original_max_position_embeddings;
// longer texts would need keys rotated by the long ones, also those already cached, so that is their limit.
#include "model/config_hf_rope.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "model/config_hf_keys.h"

namespace elrea {

namespace {

void CheckKeys(const Json& rope, const std::string& origin) {
  constexpr std::array kKnown = {"rope_theta",       "rope_type",       "type",           "factor",
                                 "attention_factor", "beta_fast",       "beta_slow",      "mscale",
                                 "mscale_all_dim",   "truncate",        "short_factor",   "long_factor",
                                 "low_freq_factor",  "high_freq_factor", "partial_rotary_factor",
                                 "original_max_position_embeddings"};
  if (!rope.is_object()) throw Error(ErrorKind::kCorrupt, origin + " is no object; take the file again");
  for (const auto& [key, value] : rope.items()) {
    if (value.is_null() || std::find(kKnown.begin(), kKnown.end(), key) != kKnown.end()) continue;
    RefuseConfigValue(origin, key, JsonLine(value), "rotary embeddings without it");
  }
}

// What a number that cannot be missing or zero falls back to, as Python's `or` does.
double NumberOr(const Json& rope, const char* key, double fallback, const std::string& origin) {
  const double value = JsonFieldOr<double>(rope, key, 0, origin);
  return value == 0 ? fallback : value;
}

class RopeReader {
 public:
  RopeReader(const Json& config, const Family& family, ModelConfig& c) : config_(config), family_(family), c_(c) {}

  // One description: {"rope_type": "linear", "factor": 8, "rope_theta": 1e6}; version 4 called the first "type".
  void Read(const Json& rope, const std::string& origin, double& theta, RopeScaling& s) {
    CheckKeys(rope, origin);
    theta = JsonFieldOr<double>(rope, "rope_theta", theta, origin);
    const double partial = JsonFieldOr<double>(rope, "partial_rotary_factor", 1, origin);
    if (partial != 1) {
      RefuseConfigValue(origin, "partial_rotary_factor", fmt::format("{}", partial),
                        "rotary embeddings over the whole head");
    }
    std::string type = JsonFieldOr<std::string>(rope, "rope_type",
                                                JsonFieldOr<std::string>(rope, "type", "default", origin), origin);
    const bool was_renamed = type == "su" || (type == "yarn" && IsSetInConfig(rope, "short_factor"));
    if (was_renamed) type = "longrope";  // names of Phi-3's first checkpoints
    if (type == "default") return;
    if (type == "linear") return ReadLinear(rope, origin, s);
    if (type == "dynamic") return;
    if (type == "llama3") return ReadLlama3(rope, origin, s);
    if (type == "yarn") return ReadYarn(rope, origin, s);
    if (type == "longrope") return ReadLongRope(rope, origin, s);
    RefuseConfigValue(origin, "rope_type", "\"" + type + "\"",
                      "default, linear, dynamic, llama3, yarn or longrope rotary embeddings");
  }

 private:
  void ReadLinear(const Json& rope, const std::string& origin, RopeScaling& s) {
    s.kind = RopeScaling::Kind::kLinear;
    s.factor = JsonField<double>(rope, "factor", origin);
  }

  int64_t OriginalContext(const Json& rope, const std::string& origin) const {
    const auto inside = JsonFieldOr<int64_t>(rope, "original_max_position_embeddings", c_.context_length, origin);
    return JsonFieldOr<int64_t>(config_, "original_max_position_embeddings", inside, origin);
  }

  void ReadLlama3(const Json& rope, const std::string& origin, RopeScaling& s) {
    s.kind = RopeScaling::Kind::kLlama3;
    s.factor = JsonField<double>(rope, "factor", origin);
    s.low_freq_factor = JsonField<double>(rope, "low_freq_factor", origin);
    s.high_freq_factor = JsonField<double>(rope, "high_freq_factor", origin);
    s.original_context = OriginalContext(rope, origin);
  }

  void ReadYarn(const Json& rope, const std::string& origin, RopeScaling& s) {
    s.kind = RopeScaling::Kind::kYarn;
    s.original_context = OriginalContext(rope, origin);
    s.factor = IsSetInConfig(rope, "factor") ? JsonField<double>(rope, "factor", origin) : Extension(s);
    s.beta_fast = NumberOr(rope, "beta_fast", 32, origin);
    s.beta_slow = NumberOr(rope, "beta_slow", 1, origin);
    s.truncate = JsonFieldOr<bool>(rope, "truncate", true, origin);
    const auto damping = [&](double weight) { return s.factor <= 1 ? 1.0 : 0.1 * weight * std::log(s.factor) + 1.0; };
    const double scale = JsonFieldOr<double>(rope, "mscale", 0, origin);
    const double scale_all = JsonFieldOr<double>(rope, "mscale_all_dim", 0, origin);
    const double usual = scale != 0 && scale_all != 0 ? damping(scale) / damping(scale_all) : damping(1);
    s.attention_factor = JsonFieldOr<double>(rope, "attention_factor", usual, origin);
  }

  void ReadLongRope(const Json& rope, const std::string& origin, RopeScaling& s) {
    s.kind = RopeScaling::Kind::kFactors;
    s.factors = JsonField<std::vector<double>>(rope, "short_factor", origin);
    // Phi3Config has 4096 where the file says nothing.
    s.original_context = family_.defaults.fused_qkv && !IsSetInConfig(config_, "original_max_position_embeddings")
                             ? 4096
                             : OriginalContext(rope, origin);
    const double factor = IsSetInConfig(rope, "factor") ? JsonField<double>(rope, "factor", origin) : Extension(s);
    const double usual =
        factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(s.original_context)));
    s.attention_factor = JsonFieldOr<double>(rope, "attention_factor", usual, origin);
    c_.context_length = std::min(c_.context_length, s.original_context);
  }

  double Extension(const RopeScaling& s) const {
    return s.original_context > 0 ? static_cast<double>(c_.context_length) / static_cast<double>(s.original_context) : 0;
  }

  const Json& config_;
  const Family& family_;
  ModelConfig& c_;
};

}  // namespace

void ReadHuggingFaceRope(const Json& config, const std::string& origin, const Family& family, ModelConfig& c) {
  c.rope_theta = JsonFieldOr<double>(config, "rope_theta", c.rope_theta, origin);
  c.rope_theta_local = JsonFieldOr<double>(config, "rope_local_base_freq", c.rope_theta_local, origin);
  if (const double partial = JsonFieldOr<double>(config, "partial_rotary_factor", 1, origin); partial != 1) {
    RefuseConfigValue(origin, "partial_rotary_factor", fmt::format("{}", partial),
                      "rotary embeddings over the whole head");
  }
  const char* key = IsSetInConfig(config, "rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!IsSetInConfig(config, key)) return;
  const Json& rope = config.at(key);
  const std::string place = fmt::format("{}, {}", origin, key);
  RopeReader reader(config, family, c);
  const bool by_kind = IsSetInConfig(rope, "full_attention") || IsSetInConfig(rope, "sliding_attention");
  if (!by_kind || family.defaults.rope_theta_local == 0) return reader.Read(rope, place, c.rope_theta, c.rope_scaling);
  for (const auto& [kind, value] : rope.items()) {
    if (kind != "full_attention" && kind != "sliding_attention" && !value.is_null()) {
      RefuseConfigValue(place, kind, JsonLine(value), "full_attention and sliding_attention only");
    }
  }
  if (IsSetInConfig(rope, "full_attention"))
    reader.Read(rope.at("full_attention"), place, c.rope_theta, c.rope_scaling);
  RopeScaling local;
  if (IsSetInConfig(rope, "sliding_attention"))
    reader.Read(rope.at("sliding_attention"), place, c.rope_theta_local, local);
  if (local.kind != RopeScaling::Kind::kNone)
    RefuseConfigValue(place, "rope_type", "set for sliding layers", "scaling in full-attention layers only");
}

}  // namespace elrea
