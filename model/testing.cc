#include "model/testing.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "core/safetensors.h"
#include "model/family.h"
#include "model/tensor_table.h"

namespace elrea {
namespace {

// Normal numbers of stream `stream`, [shape].
torch::Tensor RandomTensor(const TensorSlot& slot, uint64_t seed, uint64_t stream) {
  const double deviation = slot.is_vector() ? 0.2 : 1 / std::sqrt(static_cast<double>(slot.shape.back()));
  torch::Tensor tensor = torch::empty(slot.shape);
  auto* values = tensor.data_ptr<float>();
  Rng rng(seed, stream);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    values[i] = static_cast<float>((slot.is_norm ? 1 : 0) + deviation * rng.Normal());
  }
  return tensor;
}

// Rows of half-split rope order to GGUF's interleaved pairs: [heads, 2, head_dim/2, in] -> [heads,
// head_dim/2, 2, in].
torch::Tensor Interleave(const torch::Tensor& rows, int64_t heads) {
  return rows.view({heads, 2, -1, rows.numel() / rows.size(0)}).transpose(1, 2).reshape(rows.sizes());
}

std::string Bytes(const torch::Tensor& tensor) {
  return {static_cast<const char*>(tensor.data_ptr()), tensor.nbytes()};
}

std::vector<std::string> LayerTypes(const ModelConfig& config) {
  std::vector<std::string> types;
  for (const bool slides : config.layer_is_sliding)
    types.push_back(slides ? "sliding_attention" : "full_attention");
  return types;
}

}  // namespace

ModelConfig TinyLlamaConfig() {
  ModelConfig c = FamilyByName("llama").defaults;
  c.vocab = 96;
  c.dim = 32;
  c.layers = 2;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 8;
  c.ffn = 64;
  c.context_length = 128;
  c.norm_eps = 1e-5;
  c.attention_scale = 1 / std::sqrt(8.0);
  c.tied_embeddings = true;
  return c;
}

ModelConfig TinyPhi3Config() {
  ModelConfig c = TinyLlamaConfig();
  c.family = "phi3";
  c.fused_qkv = c.fused_gate_up = true;
  return c;
}

ModelConfig TinyGemma3Config() {
  ModelConfig c = FamilyByName("gemma3").defaults;
  c.vocab = 96;
  c.dim = 32;
  c.layers = 4;
  c.heads = 4;
  c.kv_heads = 1;
  c.head_dim = 16;
  c.ffn = 64;
  c.context_length = 128;
  c.rope_scaling.kind = RopeScaling::Kind::kLinear;
  c.rope_scaling.factor = 2;
  c.sliding_window = 5;
  c.layer_is_sliding = {true, true, false, true};
  c.attention_scale = 1 / std::sqrt(12.0);
  c.embedding_scale = std::sqrt(32.0);
  c.final_logit_softcap = 20;
  return c;
}

ModelWeights MakeTinyModel(const ModelConfig& config, uint64_t seed, torch::Dtype dtype) {
  const torch::NoGradGuard no_grad;
  config.Validate("tiny model");
  ModelWeights weights;
  weights.config = config;
  uint64_t stream = 0;
  for (const TensorSlot& slot : ListTensors(weights)) {
    *slot.tensor = RandomTensor(slot, seed, stream++).to(slot.is_vector() ? torch::kFloat : dtype);
  }
  if (config.tied_embeddings) weights.head = weights.embedding;
  weights.fingerprint = fmt::format("{:016x}", RandomBits(seed, stream, 0));
  weights.origin = fmt::format("tiny {} model, seed {}", config.family, seed);
  return weights;
}

Json HuggingFaceConfig(const ModelConfig& c) {
  const Family& family = FamilyByName(c.family);
  const bool is_scaled = c.rope_scaling.kind == RopeScaling::Kind::kLinear;
  Json rope = {{"rope_type", is_scaled ? "linear" : "default"}, {"rope_theta", c.rope_theta}};
  if (is_scaled) rope["factor"] = c.rope_scaling.factor;
  Json json = {{"architectures", {family.hf_architecture}},
               {"model_type", family.hf_model_type},
               {"vocab_size", c.vocab},
               {"hidden_size", c.dim},
               {"num_hidden_layers", c.layers},
               {"num_attention_heads", c.heads},
               {"num_key_value_heads", c.kv_heads},
               {"head_dim", c.head_dim},
               {"intermediate_size", c.ffn},
               {"max_position_embeddings", c.context_length},
               {"rms_norm_eps", c.norm_eps},
               {"tie_word_embeddings", c.tied_embeddings}};
  if (family.sliding != SlidingRule::kPattern) {
    json["hidden_act"] = "silu";
    json["rope_parameters"] = rope;
    return json;
  }
  json["hidden_activation"] = "gelu_pytorch_tanh";
  json["sliding_window"] = c.sliding_window;
  json["layer_types"] = LayerTypes(c);
  json["query_pre_attn_scalar"] = std::round(1 / (c.attention_scale * c.attention_scale));
  if (c.final_logit_softcap != 0) json["final_logit_softcapping"] = c.final_logit_softcap;
  if (c.attn_logit_softcap != 0) json["attn_logit_softcapping"] = c.attn_logit_softcap;
  json["rope_parameters"] = {
      {"full_attention", rope},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", c.rope_theta_local}}}};
  return json;
}

void WriteHuggingFaceModel(const ModelWeights& weights, const std::filesystem::path& directory,
                           int num_shards) {
  const torch::NoGradGuard no_grad;
  ModelWeights view = weights;  // tensors are shared, not copied
  const bool minus_one = weights.config.norm_adds_one;
  std::vector<torch::Tensor> keep_alive;
  std::vector<std::vector<NamedTensor>> shards(static_cast<size_t>(num_shards));
  Json file_of = Json::object();
  const auto file_name = [&](size_t shard) {
    return num_shards == 1 ? "model.safetensors"
                           : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, num_shards);
  };
  for (const auto& [slot, stored] : StoredTensors(ListTensors(view))) {
    keep_alive.push_back(slot.is_norm && minus_one ? stored - 1 : stored);
    const torch::Tensor& tensor = keep_alive.back();
    const size_t shard = keep_alive.size() % shards.size();
    const DType dtype = tensor.scalar_type() == torch::kBFloat16 ? DType::kBF16 : DType::kF32;
    shards[shard].push_back({slot.hf_name,
                             dtype,
                             slot.stored_shape(),
                             {static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes()}});
    file_of[slot.hf_name] = file_name(shard);
  }
  for (size_t i = 0; i < shards.size(); ++i)
    WriteSafetensors(directory / file_name(i), shards[i], {{"format", "pt"}});
  if (num_shards > 1) WriteJsonFile(directory / "model.safetensors.index.json", {{"weight_map", file_of}});
  WriteJsonFile(directory / "config.json", HuggingFaceConfig(weights.config));
}

GgufBuilder MakeGguf(const ModelWeights& weights) {
  const torch::NoGradGuard no_grad;
  const ModelConfig& c = weights.config;
  const Family& family = FamilyByName(c.family);
  const std::string prefix = family.gguf_architecture + ".";
  GgufBuilder builder;
  builder.SetString("general.architecture", family.gguf_architecture)
      .SetInt(prefix + "context_length", c.context_length)
      .SetInt(prefix + "embedding_length", c.dim)
      .SetInt(prefix + "block_count", c.layers)
      .SetInt(prefix + "feed_forward_length", c.ffn)
      .SetInt(prefix + "attention.head_count", c.heads)
      .SetInt(prefix + "attention.head_count_kv", c.kv_heads)
      .SetInt(prefix + "attention.key_length", c.head_dim)
      .SetInt(prefix + "attention.value_length", c.head_dim)
      .SetFloat(prefix + "attention.scale", static_cast<float>(c.attention_scale))
      .SetFloat(prefix + "attention.layer_norm_rms_epsilon", static_cast<float>(c.norm_eps))
      .SetFloat(prefix + "rope.freq_base", static_cast<float>(c.rope_theta));
  if (c.rope_scaling.kind == RopeScaling::Kind::kLinear) {
    builder.SetString(prefix + "rope.scaling.type", "linear")
        .SetFloat(prefix + "rope.scaling.factor", static_cast<float>(c.rope_scaling.factor));
  }
  if (c.final_logit_softcap != 0) {
    builder.SetFloat(prefix + "final_logit_softcapping", static_cast<float>(c.final_logit_softcap));
  }
  if (c.attn_logit_softcap != 0) {
    builder.SetFloat(prefix + "attn_logit_softcapping", static_cast<float>(c.attn_logit_softcap));
  }
  if (family.sliding == SlidingRule::kPattern) {
    builder.SetFloat(prefix + "rope.freq_base_swa", static_cast<float>(c.rope_theta_local))
        .SetInt(prefix + "attention.sliding_window", c.sliding_window)
        .SetBools(prefix + "attention.sliding_window_pattern", c.layer_is_sliding);
  }
  ModelWeights view = weights;
  for (const StoredTensor& stored : StoredTensors(ListTensors(view))) {
    torch::Tensor tensor = stored.tensor.to(torch::kFloat).contiguous();
    if (stored.slot.interleaved_heads > 0) tensor = Interleave(tensor, stored.slot.interleaved_heads);
    builder.AddTensor(stored.slot.gguf_name, GgmlType::kF32, stored.slot.stored_shape(), Bytes(tensor));
  }
  return builder;
}

}  // namespace elrea
