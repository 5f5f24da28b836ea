// The families of decoders this program knows, as a table: what their files call things and which switches of
// ModelConfig they turn on. A further family is a further row here; no loader and no decoder names one.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace elrea {

// What a norm is called in the two formats; where it goes is given by its place in Family.
struct NormNames {
  std::string gguf;  // "attn_norm": blk.N.attn_norm.weight
  std::string hf;    // "input_layernorm": model.layers.N.input_layernorm.weight
};

// Which layers attend to a sliding window, where the configuration does not list them.
enum class SlidingRule {
  kNever,
  kAlways,       // all of them, when a window is given
  kPattern,      // all but every sliding_pattern-th
  kOnRequest,    // with use_sliding_window: from layer max_window_layers on
  kNopeOnRequest  // with use_sliding_window: those without rotary embedding
};

struct Family {
  ModelConfig defaults;                // family name, switches, and values a config.json may leave out
  std::string gguf_architecture;       // general.architecture, also the prefix of its keys
  std::string hf_architecture;         // config.json's architectures[0]
  std::string hf_model_type;           // config.json's model_type
  std::vector<std::string> hf_keys;    // what its config.json may say beyond the keys common to all
  bool gguf_interleaves_rope = false;  // GGUF q and k rows are in interleaved rope order
  bool scales_embedding = false;       // token embeddings are multiplied by sqrt(dim)
  SlidingRule sliding = SlidingRule::kNever;
  int64_t sliding_pattern = 0;  // with kPattern: every n-th layer attends fully
  int64_t nope_interval = 0;    // every n-th layer does not rotate; 0 = all rotate
  int64_t hf_head_dim = 0;      // head_dim when config.json has none; 0 = dim / heads
  double hf_query_scalar = 0;   // query_pre_attn_scalar when config.json has none; 0 = head_dim
  int64_t gguf_scale_by_dim_layers =
      0;  // with this many layers attention_scale is 1/sqrt(dim / heads); 0 = never
  NormNames attn_norm, ffn_norm;
  NormNames attn_post_norm, ffn_post_norm;  // with defaults.post_norms
  NormNames q_norm, k_norm;                 // with defaults.qk_norm
};

const std::vector<Family>& Families();

// The row of a ModelConfig::family; kInternal when there is none.
const Family& FamilyByName(const std::string& name);

}  // namespace elrea
