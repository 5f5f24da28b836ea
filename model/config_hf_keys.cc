#include "model/config_hf_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/error.h"

namespace elrea {

void RefuseConfigValue(const std::string& origin, const std::string& key, const std::string& value,
                       const std::string& supported) {
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: \"{}\" is {}, which is not supported; use a model with {}", origin, key, value,
                          supported));
}

bool IsSetInConfig(const Json& config, const char* key) {
  const auto it = config.find(key);
  return it != config.end() && !it->is_null();
}

namespace {

// Read for every family.
const std::set<std::string>& CommonKeys() {
  static const std::set<std::string> keys = {
      "architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
      "num_key_value_heads", "intermediate_size", "max_position_embeddings", "head_dim", "tie_word_embeddings",
      "rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "hidden_act",
      "hidden_activation", "quantization_config"};
  return keys;
}

// Names and versions, defaults of generation, dropout (training has its own options), what tools leave behind.
const std::set<std::string>& KeysWithoutEffect() {
  static const std::set<std::string> keys = {
      "transformers_version", "torch_dtype", "dtype", "use_cache", "initializer_range", "attention_dropout", "hidden_dropout",
      "name_or_path", "tokenizer_class", "auto_map", "task_specific_params", "finetuning_task", "problem_type",
      "num_labels", "id2label", "label2id", "prefix", "cache_implementation", "attn_implementation",
      "output_attentions", "output_hidden_states", "output_scores", "return_dict", "return_dict_in_generate",
      "torchscript", "pruned_heads", "is_decoder", "is_encoder_decoder", "add_cross_attention",
      "cross_attention_hidden_size", "tie_encoder_decoder", "chunk_size_feed_forward", "max_length", "min_length",
      "do_sample", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
      "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "num_beams", "num_beam_groups", "diversity_penalty",
      "num_return_sequences", "early_stopping", "exponential_decay_length_penalty", "suppress_tokens",
      "begin_suppress_tokens", "remove_invalid_values",
      "bad_words_ids", "tf_legacy_loss", "use_bfloat16", "unsloth_version", "unsloth_fixed", "unsloth_optimized",
      "transformers.js_config"};
  return keys;
}

bool IsSwitchedOff(const Json& value) {
  if (value.is_string() || value.is_structured()) return value.empty() || value == Json("");
  return value.is_null() || value == Json(false) || value == Json(0);
}

}  // namespace

void RefuseUnknownKeys(const Json& config, const std::string& origin, const Family& family) {
  for (const auto& [key, value] : config.items()) {
    if (key.starts_with('_') || key.ends_with("_token_id")) continue;
    if (CommonKeys().contains(key) || KeysWithoutEffect().contains(key)) continue;
    if (IsSwitchedOff(value) || std::ranges::find(family.hf_keys, key) != family.hf_keys.end()) continue;
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: \"{}\" is {}, which is not supported for {}; use a model without it, or take the key "
                            "out of the file if it does not change what the model computes",
                            origin, key, JsonExcerpt(value), family.hf_architecture));
  }
  if (JsonFieldOr<bool>(config, "use_bidirectional_attention", false, origin)) {
    RefuseConfigValue(origin, "use_bidirectional_attention", "true", "causal attention");
  }
  if (!IsSetInConfig(config, "quantization_config")) return;
  const auto quantization = JsonField<Json>(config, "quantization_config", origin);
  const auto method = JsonFieldOr<std::string>(quantization, "quant_method", "unnamed", origin + ", quantization_config");
  if (method != "bitsandbytes") {
    RefuseConfigValue(origin, "quantization_config", "of the method " + method,
                      "F32, F16 or BF16 tensors or those of bitsandbytes, or a GGUF file");
  }
}

}  // namespace elrea
