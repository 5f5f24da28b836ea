// ModelConfig from a GGUF file's metadata. Keys are "<architecture>.<name>" for every family; the family's
// row says what they leave unsaid. Source: ggml's GGUF description and llama.cpp's hyper-parameter loading.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/gguf.h"
#include "core/text.h"
#include "model/config.h"
#include "model/family.h"

namespace elrea {
namespace {

const Family& FindFamily(const GgufFile& file) {
  const std::string architecture = file.GetString("general.architecture");
  std::vector<std::string> known;
  for (const Family& family : Families()) {
    if (family.gguf_architecture.empty()) continue;
    if (family.gguf_architecture == architecture) return family;
    known.push_back(family.gguf_architecture);
  }
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: architecture \"{}\" is not supported; use a model of one of: {}",
                          file.path().string(), architecture, Join(known, ", ")));
}

// The keys of one architecture, with fallbacks for optional ones.
class Keys {
 public:
  Keys(const GgufFile& file, const Family& family) : file_(file), prefix_(family.gguf_architecture + ".") {}

  std::string Name(const char* key) const { return prefix_ + key; }
  bool Has(const char* key) const { return file_.Contains(Name(key)); }
  int64_t Int(const char* key) const { return file_.GetInt(Name(key)); }
  int64_t IntOr(const char* key, int64_t fallback) const { return Has(key) ? Int(key) : fallback; }
  double DoubleOr(const char* key, double fallback) const {
    return Has(key) ? file_.GetDouble(Name(key)) : fallback;
  }

  [[noreturn]] void Refuse(const char* key, const std::string& value, const char* supported) const {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: \"{}\" is {}, which is not supported; use a model with {}",
                            file_.path().string(), Name(key), value, supported));
  }
  const GgufFile& file() const { return file_; }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

// The embedding has a row per token; the key, where written, must agree.
int64_t ReadVocab(const Keys& keys) {
  const GgufFile& file = keys.file();
  const std::vector<int64_t>& shape = file.GetTensor("token_embd.weight").shape;
  if (shape.size() != 2) {
    throw Error(ErrorKind::kCorrupt, fmt::format("{}: token_embd.weight is not a matrix; get the file again",
                                                 file.path().string()));
  }
  if (keys.IntOr("vocab_size", shape[0]) != shape[0]) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: \"{}\" is {}, but token_embd.weight has {} rows; get the file "
                            "again",
                            file.path().string(), keys.Name("vocab_size"), keys.Int("vocab_size"), shape[0]));
  }
  return shape[0];
}

void ReadSizes(const Keys& keys, ModelConfig& c) {
  c.vocab = ReadVocab(keys);
  c.dim = keys.Int("embedding_length");
  c.layers = keys.Int("block_count");
  c.heads = keys.Int("attention.head_count");
  c.kv_heads = keys.IntOr("attention.head_count_kv", c.heads);
  c.ffn = keys.Int("feed_forward_length");
  c.context_length = keys.Int("context_length");
  c.head_dim = keys.IntOr("attention.key_length", c.heads > 0 ? c.dim / c.heads : 0);
  if (const int64_t value = keys.IntOr("attention.value_length", c.head_dim); value != c.head_dim) {
    keys.Refuse("attention.value_length", std::to_string(value), "keys and values of one length");
  }
  if (const int64_t rotated = keys.IntOr("rope.dimension_count", c.head_dim); rotated != c.head_dim) {
    keys.Refuse("rope.dimension_count", std::to_string(rotated), "rotary embeddings over the whole head");
  }
}

std::vector<double> ReadFactors(const GgufFile& file, const char* name) {
  const GgufTensor& tensor = file.GetTensor(name);
  if (tensor.type != GgmlType::kF32) {
    throw Error(ErrorKind::kInvalidInput, fmt::format("{}: {} is of type {}, not F32; convert the model again",
                                                      file.path().string(), name,
                                                      GgmlTypeName(static_cast<uint32_t>(tensor.type))));
  }
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(float));
  return {values.begin(), values.end()};
}

void ReadYarn(const Keys& keys, const ModelConfig& c, RopeScaling& s) {
  s.kind = RopeScaling::Kind::kYarn;
  s.original_context = keys.IntOr("rope.scaling.original_context_length", c.context_length);
  s.beta_fast = keys.DoubleOr("rope.scaling.yarn_beta_fast", s.beta_fast);
  s.beta_slow = keys.DoubleOr("rope.scaling.yarn_beta_slow", s.beta_slow);
  if (keys.DoubleOr("rope.scaling.yarn_ext_factor", 1) != 1)
    keys.Refuse("rope.scaling.yarn_ext_factor", "not 1", "yarn's own ramp");
  if (keys.DoubleOr("rope.scaling.yarn_log_multiplier", 0) != 0)
    keys.Refuse("rope.scaling.yarn_log_multiplier", "set", "yarn's own attention factor");
  const double damping = s.factor <= 1 ? 1.0 : 0.1 * std::log(s.factor) + 1.0;
  s.attention_factor = damping * keys.DoubleOr("rope.scaling.yarn_attn_factor", 1);
}

// Factors per frequency: those of llama3 scaling already worked out, or longrope's, of which the short ones are taken
// and texts kept to the length for which they hold.
void ReadRopeFactors(const Keys& keys, ModelConfig& c) {
  const GgufFile& file = keys.file();
  RopeScaling& s = c.rope_scaling;
  const bool is_longrope = file.tensors().count("rope_factors_short.weight") > 0;
  if (!is_longrope && file.tensors().count("rope_freqs.weight") == 0) return;
  if (s.kind != RopeScaling::Kind::kNone) {
    keys.Refuse("rope.scaling.type", "set beside factors of its own", "one of them");
  }
  s.kind = RopeScaling::Kind::kFactors;
  s.factors = ReadFactors(file, is_longrope ? "rope_factors_short.weight" : "rope_freqs.weight");
  if (!is_longrope) return;
  s.attention_factor = keys.DoubleOr("rope.scaling.attn_factor", 1);
  s.original_context = keys.IntOr("rope.scaling.original_context_length", c.context_length);
  c.context_length = std::min(c.context_length, s.original_context);
}

void ReadRope(const Keys& keys, ModelConfig& c) {
  c.rope_theta = keys.DoubleOr("rope.freq_base", c.rope_theta);
  c.rope_theta_local = keys.DoubleOr("rope.freq_base_swa", c.rope_theta_local);
  RopeScaling& s = c.rope_scaling;
  const double factor = keys.DoubleOr("rope.scaling.factor", keys.DoubleOr("rope.scale_linear", 1));
  const std::string type = keys.Has("rope.scaling.type") ? keys.file().GetString(keys.Name("rope.scaling.type"))
                           : factor == 1                 ? "none"
                                                         : "linear";
  if (type == "linear") {
    s.kind = factor == 1 ? RopeScaling::Kind::kNone : RopeScaling::Kind::kLinear;
    s.factor = factor;
  } else if (type == "yarn") {
    s.factor = factor;
    ReadYarn(keys, c, s);
  } else if (type != "none" && type != "longrope") {
    keys.Refuse("rope.scaling.type", "\"" + type + "\"", "linear, yarn, longrope or no scaling");
  }
  ReadRopeFactors(keys, c);
}

void ReadSliding(const Keys& keys, const Family& family, ModelConfig& c) {
  c.sliding_window = 0;
  if (family.sliding == SlidingRule::kNever) return;
  const bool is_pattern = family.sliding == SlidingRule::kPattern;
  c.sliding_window = keys.IntOr("attention.sliding_window", is_pattern ? family.defaults.sliding_window : 0);
  if (c.sliding_window == 0) return;
  if (!is_pattern && family.sliding != SlidingRule::kAlways)
    keys.Refuse("attention.sliding_window", "set", "full attention in every layer");
  constexpr const char* kPattern = "attention.sliding_window_pattern";
  const auto& metadata = keys.file().metadata();
  const auto it = metadata.find(keys.Name(kPattern));
  if (it != metadata.end() && std::holds_alternative<std::vector<int64_t>>(it->second)) {
    for (const int64_t slides : std::get<std::vector<int64_t>>(it->second))
      c.layer_is_sliding.push_back(slides != 0);
    return;
  }
  if (!is_pattern && !keys.Has(kPattern)) {  // every layer
    c.layer_is_sliding.assign(static_cast<size_t>(std::clamp<int64_t>(c.layers, 0, kMaxModelLayers)), true);
    return;
  }
  c.layer_is_sliding =
      SlidingLayers(c.layers, keys.IntOr(kPattern, family.sliding_pattern), keys.file().path().string());
}

// Biases are there when their tensors are.
void ReadBiases(const GgufFile& file, ModelConfig& c) {
  const auto has = [&](const char* name) { return file.tensors().count(name) > 0; };
  c.qkv_bias = c.qkv_bias || has("blk.0.attn_q.bias") || has("blk.0.attn_qkv.bias");
  c.o_bias = has("blk.0.attn_output.bias");
  c.mlp_bias = has("blk.0.ffn_down.bias");
}

}  // namespace

ModelConfig ModelConfig::FromGguf(const GgufFile& file) {
  const Family& family = FindFamily(file);
  const Keys keys(file, family);
  ModelConfig c = family.defaults;
  c.norm_adds_one = false;  // converters to GGUF add the one
  c.tied_embeddings = file.tensors().count("output.weight") == 0;
  ReadSizes(keys, c);
  c.norm_eps = keys.DoubleOr("attention.layer_norm_rms_epsilon", c.norm_eps);
  ReadRope(keys, c);
  ReadSliding(keys, family, c);
  if (family.nope_interval > 0) {  // not recorded; every reader knows the interval
    c.layer_skips_rope = NopeLayers(c.layers, family.nope_interval, file.path().string());
  }
  ReadBiases(file, c);
  c.attn_logit_softcap = keys.DoubleOr("attn_logit_softcapping", c.attn_logit_softcap);
  c.final_logit_softcap = keys.DoubleOr("final_logit_softcapping", c.final_logit_softcap);
  const bool by_dim = c.heads > 0 && c.layers == family.gguf_scale_by_dim_layers;
  const int64_t scale_size = by_dim ? c.dim / c.heads : c.head_dim;
  c.attention_scale =
      keys.DoubleOr("attention.scale", scale_size > 0 ? 1 / std::sqrt(static_cast<double>(scale_size)) : 0);
  if (family.scales_embedding && c.dim > 0) c.embedding_scale = std::sqrt(static_cast<double>(c.dim));
  c.Validate(file.path().string());
  return c;
}

}  // namespace elrea
