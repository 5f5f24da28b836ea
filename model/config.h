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

// How the rotary frequencies theta^(-2 i / head_dim) of full-attention layers are changed for long texts. What
// depends on the length of the text (dynamic, the long factors of longrope) is not here: such models serve
// the lengths for which it plays no part, see ModelConfig::context_length.
struct RopeScaling {
  enum class Kind {
    kNone,
    kLinear,   // positions are divided by factor
    kLlama3,   // low frequencies divided by factor, a smooth passage between low_ and high_freq_factor
    kYarn,     // the same with a ramp between the dimensions that turn beta_slow and beta_fast times
    kFactors,  // frequency i divided by factors[i]: longrope's short ones, or what a GGUF file carries
  };
  Kind kind = Kind::kNone;
  double factor = 1;
  double attention_factor = 1;  // multiplies cosines and sines
  double low_freq_factor = 1, high_freq_factor = 4;
  double beta_fast = 32, beta_slow = 1;
  bool truncate = true;          // yarn's ramp begins and ends at whole dimensions
  int64_t original_context = 0;  // positions before scaling (kLlama3, kYarn)
  std::vector<double> factors;   // [head_dim / 2] with kFactors

  Json ToJson() const;
};

struct ModelConfig {
  std::string family;  // "llama", "gemma3", ...: for messages and file formats only
  int64_t vocab = 0, dim = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;
  int64_t context_length = 0;  // positions a sequence may have
  double norm_eps = 1e-5;
  double rope_theta = 10000;           // full-attention layers
  double rope_theta_local = 0;         // sliding-window layers; 0 = same as rope_theta
  RopeScaling rope_scaling;            // of full-attention layers
  std::vector<bool> layer_skips_rope;  // [layers], empty = every layer rotates (SmolLM3's NoPE layers)
  int64_t sliding_window = 0;          // 0 = none; a position sees itself and the window - 1 before it
  std::vector<bool> layer_is_sliding;  // [layers], empty = none slides
  double attention_scale = 0;          // multiplies q.k; 1/sqrt(head_dim) unless the family says otherwise
  double embedding_scale = 1;          // multiplies token embeddings (Gemma: sqrt(dim))
  double attn_logit_softcap = 0;       // scores become cap tanh(score / cap) before the mask; 0 = none
  double final_logit_softcap = 0;      // 0 = none
  Activation activation = Activation::kSilu;
  bool norm_adds_one = false;  // checkpoint stores norm weights minus one (Hugging Face Gemma)
  bool qk_norm = false;        // RMS norm over head_dim on q and k before rope
  bool post_norms = false;     // RMS norm on each block's output before the residual sum
  bool qkv_bias = false, o_bias = false, mlp_bias = false;  // linear layers that add a vector
  bool fused_qkv = false;      // q, k and v are one matrix to checkpoints and adapters, and so are
  bool fused_gate_up = false;  // gate and up (Phi-3)
  bool tied_embeddings = true;

  // kCorrupt / kInvalidInput naming the key; an architecture we do not know lists those we do.
  static ModelConfig FromGguf(const GgufFile& file);
  static ModelConfig FromHuggingFace(const Json& config, const std::string& origin);
  Json ToJson() const;
  // Throws kInvalidInput when sizes contradict each other.
  void Validate(const std::string& origin) const;
};

constexpr int64_t kMaxModelLayers = 4096;  // Validate refuses more

// Every `pattern`-th layer attends fully, those between slide: 6 gives five sliding layers, then a full one.
// kInvalidInput naming `origin` for a pattern below 1; empty for a number of layers that Validate refuses.
std::vector<bool> SlidingLayers(int64_t layers, int64_t pattern, const std::string& origin);
// Every `interval`-th layer does not rotate. Likewise.
std::vector<bool> NopeLayers(int64_t layers, int64_t interval, const std::string& origin);

}  // namespace elrea
