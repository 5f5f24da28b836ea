// The shape and switches of a decoder-only transformer: one description for every family, filled from a GGUF
// file's metadata or a config.json. The decoder reads switches, never family names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"

namespace elrea {

class GgufFile;

enum class Activation { kSilu, kGeluTanh };

struct ModelConfig {
  std::string family;  // "llama", "gemma3": for messages and file formats only
  int64_t vocab = 0, dim = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;
  int64_t context_length = 0;  // positions the model was trained for
  double norm_eps = 1e-5;
  double rope_theta = 10000;           // full-attention layers
  double rope_theta_local = 0;         // sliding-window layers; 0 = same as rope_theta
  double rope_scale_linear = 1;        // positions of full-attention layers are divided by this
  int64_t sliding_window = 0;          // 0 = none; a position sees itself and the window - 1 before it
  std::vector<bool> layer_is_sliding;  // [layers], empty = none slides
  double attention_scale = 0;          // multiplies q.k; 1/sqrt(head_dim) unless the family says otherwise
  double embedding_scale = 1;          // multiplies token embeddings (Gemma: sqrt(dim))
  double final_logit_softcap = 0;      // 0 = none
  Activation activation = Activation::kSilu;
  bool norm_adds_one = false;  // checkpoint stores norm weights minus one (Hugging Face Gemma)
  bool qk_norm = false;        // RMS norm over head_dim on q and k before rope
  bool post_norms = false;     // RMS norm on each block's output before the residual sum
  bool tied_embeddings = true;

  // kCorrupt / kInvalidInput naming the key; an architecture we do not know lists those we do.
  static ModelConfig FromGguf(const GgufFile& file);
  static ModelConfig FromHuggingFace(const Json& config, const std::string& origin);
  Json ToJson() const;
  // Throws kInvalidInput when sizes contradict each other.
  void Validate(const std::string& origin) const;
};

// Every `pattern`-th layer attends fully, those between slide: 6 gives five sliding layers, then a full one.
// kInvalidInput naming `origin` for a pattern below 1; empty for a number of layers that Validate refuses.
std::vector<bool> SlidingLayers(int64_t layers, int64_t pattern, const std::string& origin);

}  // namespace elrea
