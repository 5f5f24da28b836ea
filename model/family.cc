#include "model/family.h"

#include "core/error.h"

namespace elrea {
namespace {

// Pre-norm blocks with SiLU, as Llama's: what most families start from.
Family PlainBlocks(const std::string& name, const std::string& hf_architecture) {
  Family family;
  family.defaults.family = name;
  family.defaults.norm_eps = 1e-6;
  family.defaults.activation = Activation::kSilu;
  family.defaults.tied_embeddings = false;
  family.gguf_architecture = name;
  family.hf_architecture = hf_architecture;
  family.hf_model_type = name;
  family.attn_norm = {"attn_norm", "input_layernorm"};
  family.ffn_norm = {"ffn_norm", "post_attention_layernorm"};
  return family;
}

// Llama 1-3, SmolLM2, TinyLlama.
Family Llama() {
  Family family = PlainBlocks("llama", "LlamaForCausalLM");
  family.gguf_interleaves_rope = true;
  family.hf_keys = {"attention_bias", "mlp_bias", "pretraining_tp"};
  return family;
}

// Converters to GGUF write these as llama, without their window.
Family Mistral() {
  Family family = PlainBlocks("mistral", "MistralForCausalLM");
  family.gguf_architecture = "";
  family.hf_keys = {"sliding_window"};
  family.sliding = SlidingRule::kAlways;
  family.defaults.sliding_window = 4096;
  return family;
}

// Qwen 2 and 2.5.
Family Qwen2() {
  Family family = PlainBlocks("qwen2", "Qwen2ForCausalLM");
  family.defaults.qkv_bias = true;
  family.sliding = SlidingRule::kOnRequest;
  family.defaults.sliding_window = 4096;
  family.hf_keys = {"sliding_window", "use_sliding_window", "max_window_layers", "layer_types"};
  return family;
}

Family Qwen3() {
  Family family = Qwen2();
  family.defaults.family = family.gguf_architecture = family.hf_model_type = "qwen3";
  family.hf_architecture = "Qwen3ForCausalLM";
  family.defaults.qkv_bias = false;
  family.defaults.qk_norm = true;
  family.hf_keys.push_back("attention_bias");
  family.hf_head_dim = 128;
  family.q_norm = {"attn_q_norm", "self_attn.q_norm"};
  family.k_norm = {"attn_k_norm", "self_attn.k_norm"};
  return family;
}

// Gemma 1 and 1.1.
Family Gemma() {
  Family family = PlainBlocks("gemma", "GemmaForCausalLM");
  family.defaults.activation = Activation::kGeluTanh;
  family.defaults.norm_adds_one = true;
  family.defaults.tied_embeddings = true;
  family.scales_embedding = true;
  family.hf_head_dim = 256;
  family.hf_keys = {"attention_bias", "use_bidirectional_attention"};
  return family;
}

// Adds what Gemma 2 and later have: norms behind the blocks, windows, a scale of their own.
Family GemmaWithPostNorms(const std::string& name, const std::string& hf_architecture, int64_t sliding_pattern) {
  Family family = Gemma();
  family.defaults.family = family.gguf_architecture = family.hf_model_type = name;
  family.hf_architecture = hf_architecture;
  family.defaults.post_norms = true;
  family.defaults.sliding_window = 4096;
  family.sliding = SlidingRule::kPattern;
  family.sliding_pattern = sliding_pattern;
  family.hf_query_scalar = 256;
  family.attn_post_norm = {"post_attention_norm", "post_attention_layernorm"};
  family.ffn_norm = {"ffn_norm", "pre_feedforward_layernorm"};
  family.ffn_post_norm = {"post_ffw_norm", "post_feedforward_layernorm"};
  family.hf_keys = {"attention_bias",         "use_bidirectional_attention", "query_pre_attn_scalar",
                    "attn_logit_softcapping", "final_logit_softcapping",     "sliding_window",
                    "layer_types",            "sliding_window_pattern"};
  return family;
}

// GGUF records no query_pre_attn_scalar. It is head_dim in every size but the 27B's, which have these numbers of
// layers.
Family Gemma2() {
  Family family = GemmaWithPostNorms("gemma2", "Gemma2ForCausalLM", 2);
  family.defaults.attn_logit_softcap = 50;
  family.defaults.final_logit_softcap = 30;
  family.gguf_scale_by_dim_layers = 46;
  return family;
}

// Gemma 3's text decoder.
Family Gemma3() {
  Family family = GemmaWithPostNorms("gemma3", "Gemma3ForCausalLM", 6);
  family.hf_model_type = "gemma3_text";
  family.defaults.rope_theta = 1e6;
  family.defaults.rope_theta_local = 1e4;
  family.defaults.qk_norm = true;
  family.gguf_scale_by_dim_layers = 62;
  family.hf_keys.push_back("rope_local_base_freq");
  family.q_norm = {"attn_q_norm", "self_attn.q_norm"};
  family.k_norm = {"attn_k_norm", "self_attn.k_norm"};
  return family;
}

// Phi-3 and 3.5: q, k, v and gate, up stored as one matrix each.
Family Phi3() {
  Family family = PlainBlocks("phi3", "Phi3ForCausalLM");
  family.defaults.norm_eps = 1e-5;
  family.defaults.fused_qkv = true;
  family.defaults.fused_gate_up = true;
  family.sliding = SlidingRule::kAlways;
  family.hf_keys = {"sliding_window", "original_max_position_embeddings", "resid_pdrop", "embd_pdrop"};
  return family;
}

Family SmolLM3() {
  Family family = PlainBlocks("smollm3", "SmolLM3ForCausalLM");
  family.defaults.rope_theta = 2e6;
  family.defaults.tied_embeddings = true;
  family.gguf_interleaves_rope = true;
  family.nope_interval = 4;
  family.sliding = SlidingRule::kNopeOnRequest;
  family.hf_keys = {"attention_bias",  "mlp_bias",       "sliding_window",         "use_sliding_window", "max_window_layers",
                    "pretraining_tp", "no_rope_layers", "no_rope_layer_interval", "layer_types"};
  return family;
}

}  // namespace

const std::vector<Family>& Families() {
  static const std::vector<Family> families = {Llama(), Mistral(), Qwen2(), Qwen3(),  Gemma(),
                                               Gemma2(), Gemma3(),  Phi3(),  SmolLM3()};
  return families;
}

const Family& FamilyByName(const std::string& name) {
  for (const Family& family : Families()) {
    if (family.defaults.family == name) return family;
  }
  throw Error(ErrorKind::kInternal, "no model family is called \"" + name + "\"");
}

}  // namespace elrea
