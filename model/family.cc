#include "model/family.h"

#include "core/error.h"

namespace elrea {
namespace {

// SmolLM2, Llama 1-3.0, TinyLlama.
Family Llama() {
  Family family;
  family.defaults.family = "llama";
  family.defaults.norm_eps = 1e-6;
  family.defaults.rope_theta = 10000;
  family.defaults.activation = Activation::kSilu;
  family.defaults.tied_embeddings = false;
  family.gguf_architecture = "llama";
  family.hf_architecture = "LlamaForCausalLM";
  family.hf_model_type = "llama";
  family.gguf_interleaves_rope = true;
  family.attn_norm = {"attn_norm", "input_layernorm"};
  family.ffn_norm = {"ffn_norm", "post_attention_layernorm"};
  return family;
}

// Gemma 3's text decoder.
Family Gemma3() {
  Family family;
  family.defaults.family = "gemma3";
  family.defaults.norm_eps = 1e-6;
  family.defaults.rope_theta = 1e6;
  family.defaults.rope_theta_local = 1e4;
  family.defaults.sliding_window = 4096;
  family.defaults.activation = Activation::kGeluTanh;
  family.defaults.norm_adds_one = true;
  family.defaults.qk_norm = true;
  family.defaults.post_norms = true;
  family.defaults.tied_embeddings = true;
  family.gguf_architecture = "gemma3";
  family.hf_architecture = "Gemma3ForCausalLM";
  family.hf_model_type = "gemma3_text";
  family.scales_embedding = true;
  family.sliding_pattern = 6;
  family.hf_head_dim = 256;
  // GGUF does not record query_pre_attn_scalar. It is head_dim in every size but the 27B, which has 62
  // layers.
  family.gguf_scale_by_dim_layers = 62;
  family.attn_norm = {"attn_norm", "input_layernorm"};
  family.attn_post_norm = {"post_attention_norm", "post_attention_layernorm"};
  family.ffn_norm = {"ffn_norm", "pre_feedforward_layernorm"};
  family.ffn_post_norm = {"post_ffw_norm", "post_feedforward_layernorm"};
  family.q_norm = {"attn_q_norm", "self_attn.q_norm"};
  family.k_norm = {"attn_k_norm", "self_attn.k_norm"};
  return family;
}

}  // namespace

const std::vector<Family>& Families() {
  static const std::vector<Family> families = {Llama(), Gemma3()};
  return families;
}

const Family& FamilyByName(const std::string& name) {
  for (const Family& family : Families()) {
    if (family.defaults.family == name) return family;
  }
  throw Error(ErrorKind::kInternal, "no model family is called \"" + name + "\"");
}

}  // namespace elrea
