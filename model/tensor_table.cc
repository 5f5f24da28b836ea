#include "model/tensor_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/torch.h>

#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/memory_pages.h"
#include "core/text.h"
#include "model/family.h"

namespace elrea {
namespace {

constexpr size_t kMaxNamedFaults = 8;  // further ones are counted

// Appends the slots of one layer.
class LayerLister {
 public:
  LayerLister(int64_t layer, std::vector<TensorSlot>& slots) : layer_(layer), slots_(slots) {}

  struct Part {
    torch::Tensor* matrix;
    CodedRows* codes;
    torch::Tensor* bias;
    int64_t rows;
    std::string gguf, hf;
    int64_t interleaved_heads = 0;
  };

  void Norm(torch::Tensor& tensor, int64_t size, const NormNames& names) {
    Add(tensor, {size}, names.gguf, names.hf, "weight").is_norm = true;
  }

  // Matrices [rows, in] with a common input and, where there are any, their biases.
  void Matrices(const std::vector<Part>& parts, int64_t in, bool with_bias) {
    for (const Part& part : parts) {
      TensorSlot& matrix = Add(*part.matrix, {part.rows, in}, part.gguf, part.hf, "weight");
      matrix.codes = part.codes;
      matrix.interleaved_heads = part.interleaved_heads;
      if (!with_bias) continue;
      TensorSlot& bias = Add(*part.bias, {part.rows}, part.gguf, part.hf, "bias");
      bias.is_bias = true;
      bias.interleaved_heads = part.interleaved_heads;
    }
  }

  // The same where the checkpoint holds them as one.
  void Fused(const std::vector<Part>& parts, int64_t in, const std::string& gguf, const std::string& hf,
             bool with_bias) {
    int64_t total = 0, first = 0;
    for (const Part& part : parts) total += part.rows;
    const auto place = [&](TensorSlot& slot) {
      slot.first_row = first;
      slot.stored_rows = total;
    };
    for (const Part& part : parts) {
      TensorSlot& matrix = Add(*part.matrix, {part.rows, in}, gguf, hf, "weight");
      matrix.codes = part.codes;
      place(matrix);
      if (with_bias) {
        TensorSlot& bias = Add(*part.bias, {part.rows}, gguf, hf, "bias");
        bias.is_bias = true;
        place(bias);
      }
      first += part.rows;
    }
  }

 private:
  TensorSlot& Add(torch::Tensor& tensor, std::vector<int64_t> shape, const std::string& gguf, const std::string& hf,
                  const char* kind) {
    TensorSlot slot;
    slot.gguf_name = fmt::format("blk.{}.{}.{}", layer_, gguf, kind);
    slot.hf_name = fmt::format("model.layers.{}.{}.{}", layer_, hf, kind);
    slot.stored_rows = shape[0];
    slot.shape = std::move(shape);
    slot.tensor = &tensor;
    slots_.push_back(std::move(slot));
    return slots_.back();
  }

  int64_t layer_;
  std::vector<TensorSlot>& slots_;
};

void ListLayer(const ModelConfig& c, const Family& family, int64_t layer, LayerWeights& w,
               std::vector<TensorSlot>& slots) {
  const int64_t q_rows = c.heads * c.head_dim, kv_rows = c.kv_heads * c.head_dim;
  const bool interleaved = family.gguf_interleaves_rope;
  LayerLister list(layer, slots);
  list.Norm(w.attn_norm, c.dim, family.attn_norm);
  const std::vector<LayerLister::Part> qkv = {
      {&w.q, &w.coded_q, &w.q_bias, q_rows, "attn_q", "self_attn.q_proj", interleaved ? c.heads : 0},
      {&w.k, &w.coded_k, &w.k_bias, kv_rows, "attn_k", "self_attn.k_proj", interleaved ? c.kv_heads : 0},
      {&w.v, &w.coded_v, &w.v_bias, kv_rows, "attn_v", "self_attn.v_proj"}};
  const std::vector<LayerLister::Part> gate_up = {{&w.gate, &w.coded_gate, &w.gate_bias, c.ffn, "ffn_gate", "mlp.gate_proj"},
                                                  {&w.up, &w.coded_up, &w.up_bias, c.ffn, "ffn_up", "mlp.up_proj"}};
  if (c.fused_qkv) {
    list.Fused(qkv, c.dim, "attn_qkv", "self_attn.qkv_proj", c.qkv_bias);
  } else {
    list.Matrices(qkv, c.dim, c.qkv_bias);
  }
  list.Matrices({{&w.o, &w.coded_o, &w.o_bias, c.dim, "attn_output", "self_attn.o_proj"}}, q_rows, c.o_bias);
  if (c.qk_norm) {
    list.Norm(w.q_norm, c.head_dim, family.q_norm);
    list.Norm(w.k_norm, c.head_dim, family.k_norm);
  }
  list.Norm(w.ffn_norm, c.dim, family.ffn_norm);
  if (c.fused_gate_up) {
    list.Fused(gate_up, c.dim, "ffn_up", "mlp.gate_up_proj", c.mlp_bias);
  } else {
    list.Matrices(gate_up, c.dim, c.mlp_bias);
  }
  list.Matrices({{&w.down, &w.coded_down, &w.down_bias, c.dim, "ffn_down", "mlp.down_proj"}}, c.ffn, c.mlp_bias);
  if (c.post_norms) {
    list.Norm(w.attn_post_norm, c.dim, family.attn_post_norm);
    list.Norm(w.ffn_post_norm, c.dim, family.ffn_post_norm);
  }
}

std::string FirstFaults(std::vector<std::string> faults) {
  const size_t num_more = faults.size() > kMaxNamedFaults ? faults.size() - kMaxNamedFaults : 0;
  faults.resize(faults.size() - num_more);
  return Join(faults, "; ") + (num_more > 0 ? fmt::format("; and {} more", num_more) : "");
}

}  // namespace

std::vector<TensorSlot> ListTensors(ModelWeights& weights) {
  const ModelConfig& c = weights.config;
  const Family& family = FamilyByName(c.family);
  std::vector<TensorSlot> slots;
  const auto add = [&](const char* gguf, const char* hf, std::vector<int64_t> shape, torch::Tensor& tensor) {
    TensorSlot slot{gguf, hf, shape, &tensor};
    slot.is_norm = shape.size() == 1;
    slot.stored_rows = shape[0];
    slots.push_back(std::move(slot));
  };
  add("token_embd.weight", "model.embed_tokens.weight", {c.vocab, c.dim}, weights.embedding);
  weights.layers.resize(static_cast<size_t>(c.layers));
  for (int64_t i = 0; i < c.layers; ++i)
    ListLayer(c, family, i, weights.layers[static_cast<size_t>(i)], slots);
  add("output_norm.weight", "model.norm.weight", {c.dim}, weights.final_norm);
  if (!c.tied_embeddings) add("output.weight", "lm_head.weight", {c.vocab, c.dim}, weights.head);
  return slots;
}

std::vector<StoredTensor> StoredTensors(const std::vector<TensorSlot>& slots) {
  std::vector<StoredTensor> stored;
  std::map<std::string, std::vector<torch::Tensor>> parts;
  for (const TensorSlot& slot : slots) parts[slot.hf_name].push_back(*slot.tensor);
  for (const TensorSlot& slot : slots) {
    if (slot.first_row > 0) continue;
    const std::vector<torch::Tensor>& tensors = parts.at(slot.hf_name);
    stored.push_back({slot, tensors.size() == 1 ? tensors[0].contiguous() : torch::cat(tensors)});
  }
  return stored;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void CheckTensors(const std::vector<TensorSlot>& slots, std::string TensorSlot::*name_of,
                  const std::map<std::string, std::vector<int64_t>>& found,
                  const std::function<bool(const std::string&)>& may_ignore, const std::string& origin) {
  std::vector<std::string> faults, unknown;
  std::set<std::string> expected;
  for (const TensorSlot& slot : slots) {
    const std::string& name = slot.*name_of;
    if (!expected.insert(name).second) continue;  // a further part of the same tensor
    const auto it = found.find(name);
    const std::vector<int64_t> stored = slot.stored_shape();
    if (it == found.end()) {
      faults.push_back(fmt::format("{} {} is missing", name, ShapeText(stored)));
    } else if (it->second != stored) {
      faults.push_back(
          fmt::format("{} has shape {}, expected {}", name, ShapeText(it->second), ShapeText(stored)));
    }
  }
  for (const auto& [name, shape] : found) {
    if (expected.count(name) == 0 && !may_ignore(name)) {
      unknown.push_back(fmt::format("{} {} is not known", name, ShapeText(shape)));
    }
  }
  if (faults.empty() && unknown.empty()) return;
  if (faults.empty()) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("{}: the model has parts that its configuration does not call for or elrea does not "
                    "support: {}; use another model",
                    origin, FirstFaults(unknown)));
  }
  faults.insert(faults.end(), unknown.begin(), unknown.end());
  throw Error(
      ErrorKind::kCorrupt,
      fmt::format("{}: the tensors do not fit the model's configuration: {}; take the checkpoint again "
                  "from its source, or correct its configuration",
                  origin, FirstFaults(faults)));
}

torch::Tensor AllocateSlot(const TensorSlot& slot, torch::Dtype dtype) {
  try {
    const torch::Tensor memory = torch::empty(slot.shape, torch::dtype(slot.is_vector() ? torch::kFloat : dtype));
    UseHugePages({static_cast<const std::byte*>(memory.const_data_ptr()), memory.nbytes()});
    return memory;
  } catch (const c10::Error&) {
    throw Error(ErrorKind::kUnavailable,
                fmt::format("no memory for tensor {} {}; use a smaller model or a machine with more memory",
                            slot.hf_name, ShapeText(slot.shape)));
  }
}

torch::Tensor MappedTensor(std::span<const std::byte> bytes, const std::vector<int64_t>& shape, torch::Dtype type,
                           std::shared_ptr<const void> file) {
  // from_blob wants a mutable pointer; the map is read-only, and only read
  return torch::from_blob(
      const_cast<std::byte*>(bytes.data()), shape, [file = std::move(file), bytes](void*) { DropMappedPages(bytes); },
      torch::dtype(type));
}

std::string Fingerprint(const std::map<std::string, FingerprintEntry>& tensors) {
  std::vector<std::pair<const std::string*, const FingerprintEntry*>> list;
  for (const auto& [name, entry] : tensors) list.emplace_back(&name, &entry);
  std::vector<uint64_t> hashes(list.size());
#pragma omp parallel for schedule(dynamic)
  for (size_t i = 0; i < list.size(); ++i) hashes[i] = Checksum(list[i].second->bytes);
  std::string text;
  for (size_t i = 0; i < list.size(); ++i) {
    const auto& [name, entry] = list[i];
    text += fmt::format("{} {} {} {:016x}\n", *name, entry->type, ShapeText(entry->shape), hashes[i]);
  }
  return ChecksumHex(text);
}

}  // namespace elrea
