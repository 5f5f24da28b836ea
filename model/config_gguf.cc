// ModelConfig from a GGUF file's metadata. Keys are "<architecture>.<name>" for every family; the family's
// row says what they leave unsaid. Source: ggml's GGUF description and llama.cpp's hyper-parameter loading.
#include <fmt/format.h>

#include <cmath>

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

void ReadRope(const Keys& keys, ModelConfig& c) {
  c.rope_theta = keys.DoubleOr("rope.freq_base", c.rope_theta);
  c.rope_theta_local = keys.DoubleOr("rope.freq_base_swa", c.rope_theta_local);
  if (!keys.Has("rope.scaling.type")) {
    c.rope_scale_linear = keys.DoubleOr("rope.scaling.factor", keys.DoubleOr("rope.scale_linear", 1));
    return;
  }
  const std::string type = keys.file().GetString(keys.Name("rope.scaling.type"));
  if (type == "linear") {
    c.rope_scale_linear = keys.DoubleOr("rope.scaling.factor", 1);
  } else if (type != "none") {
    keys.Refuse("rope.scaling.type", "\"" + type + "\"", "linear or no scaling");
  }
}

void ReadSliding(const Keys& keys, const Family& family, ModelConfig& c) {
  if (family.sliding_pattern == 0) return;
  c.sliding_window = keys.IntOr("attention.sliding_window", c.sliding_window);
  constexpr const char* kPattern = "attention.sliding_window_pattern";
  const auto& metadata = keys.file().metadata();
  const auto it = metadata.find(keys.Name(kPattern));
  if (it != metadata.end() && std::holds_alternative<std::vector<int64_t>>(it->second)) {
    for (const int64_t slides : std::get<std::vector<int64_t>>(it->second))
      c.layer_is_sliding.push_back(slides != 0);
    return;
  }
  c.layer_is_sliding =
      SlidingLayers(c.layers, keys.IntOr(kPattern, family.sliding_pattern), keys.file().path().string());
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
  if (keys.DoubleOr("attn_logit_softcapping", 0) != 0) {
    keys.Refuse("attn_logit_softcapping", "set", "no cap on attention scores");
  }
  c.final_logit_softcap = keys.DoubleOr("final_logit_softcapping", 0);
  const bool by_dim = c.heads > 0 && c.layers == family.gguf_scale_by_dim_layers;
  const int64_t scale_size = by_dim ? c.dim / c.heads : c.head_dim;
  c.attention_scale =
      keys.DoubleOr("attention.scale", scale_size > 0 ? 1 / std::sqrt(static_cast<double>(scale_size)) : 0);
  if (family.scales_embedding && c.dim > 0) c.embedding_scale = std::sqrt(static_cast<double>(c.dim));
  c.Validate(file.path().string());
  return c;
}

}  // namespace elrea
