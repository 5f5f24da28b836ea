#include "model/tensor_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/torch.h>

#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "model/family.h"

namespace elrea {
namespace {

constexpr size_t kMaxNamedFaults = 8;  // further ones are counted

void ListLayer(const ModelConfig& c, const Family& family, int64_t layer, LayerWeights& w,
               std::vector<TensorSlot>& slots) {
  const int64_t q_rows = c.heads * c.head_dim, kv_rows = c.kv_heads * c.head_dim;
  const auto add = [&](torch::Tensor& tensor, std::vector<int64_t> shape, const std::string& gguf,
                       const std::string& hf, int64_t interleaved_heads = 0) {
    const bool is_norm = shape.size() == 1;
    slots.push_back({fmt::format("blk.{}.{}.weight", layer, gguf),
                     fmt::format("model.layers.{}.{}.weight", layer, hf), std::move(shape), &tensor, is_norm,
                     interleaved_heads});
  };
  const auto add_norm = [&](torch::Tensor& tensor, int64_t size, const NormNames& names) {
    add(tensor, {size}, names.gguf, names.hf);
  };
  const bool interleaved = family.gguf_interleaves_rope;
  add_norm(w.attn_norm, c.dim, family.attn_norm);
  add(w.q, {q_rows, c.dim}, "attn_q", "self_attn.q_proj", interleaved ? c.heads : 0);
  add(w.k, {kv_rows, c.dim}, "attn_k", "self_attn.k_proj", interleaved ? c.kv_heads : 0);
  add(w.v, {kv_rows, c.dim}, "attn_v", "self_attn.v_proj");
  add(w.o, {c.dim, q_rows}, "attn_output", "self_attn.o_proj");
  if (c.qk_norm) {
    add_norm(w.q_norm, c.head_dim, family.q_norm);
    add_norm(w.k_norm, c.head_dim, family.k_norm);
  }
  add_norm(w.ffn_norm, c.dim, family.ffn_norm);
  add(w.gate, {c.ffn, c.dim}, "ffn_gate", "mlp.gate_proj");
  add(w.up, {c.ffn, c.dim}, "ffn_up", "mlp.up_proj");
  add(w.down, {c.dim, c.ffn}, "ffn_down", "mlp.down_proj");
  if (c.post_norms) {
    add_norm(w.attn_post_norm, c.dim, family.attn_post_norm);
    add_norm(w.ffn_post_norm, c.dim, family.ffn_post_norm);
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
  slots.push_back({"token_embd.weight", "model.embed_tokens.weight", {c.vocab, c.dim}, &weights.embedding});
  weights.layers.resize(static_cast<size_t>(c.layers));
  for (int64_t i = 0; i < c.layers; ++i)
    ListLayer(c, family, i, weights.layers[static_cast<size_t>(i)], slots);
  slots.push_back({"output_norm.weight", "model.norm.weight", {c.dim}, &weights.final_norm, true});
  if (!c.tied_embeddings)
    slots.push_back({"output.weight", "lm_head.weight", {c.vocab, c.dim}, &weights.head});
  return slots;
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
    expected.insert(name);
    const auto it = found.find(name);
    if (it == found.end()) {
      faults.push_back(fmt::format("{} {} is missing", name, ShapeText(slot.shape)));
    } else if (it->second != slot.shape) {
      faults.push_back(
          fmt::format("{} has shape {}, expected {}", name, ShapeText(it->second), ShapeText(slot.shape)));
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
    return torch::empty(slot.shape, torch::dtype(slot.is_norm ? torch::kFloat : dtype));
  } catch (const c10::Error&) {
    throw Error(ErrorKind::kUnavailable,
                fmt::format("no memory for tensor {} {}; use a smaller model or a machine with more memory",
                            slot.hf_name, ShapeText(slot.shape)));
  }
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
