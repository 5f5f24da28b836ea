// The list of a backbone's tensors: each is named once, with its shape, its place in ModelWeights and what
// the two checkpoint formats call it. Loading, checking, dumping and counting all walk this list.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/weights.h"

namespace elrea {

struct TensorSlot {
  std::string gguf_name;       // "blk.0.attn_q.weight"
  std::string hf_name;         // "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;  // row-major
  torch::Tensor* tensor;       // into the ModelWeights the list was made of
  bool is_norm = false;        // [n], kept in f32
  int64_t interleaved_heads =
      0;  // GGUF rows are in interleaved rope order within each of so many heads; 0 = as is
};

// The tensors `weights.config` calls for; sizes `weights.layers` to config.layers. A tied head is no slot of
// its own. REQUIRES: a valid config. The slots point into `weights`, which must not move meanwhile.
std::vector<TensorSlot> ListTensors(ModelWeights& weights);

// Throws one Error naming all tensors that are missing or have another shape than expected (kCorrupt) or are
// not known (kInvalidInput when that is all; `may_ignore` excuses names). `found` holds the shapes in the
// checkpoint, `name_of` picks the format's name.
void CheckTensors(const std::vector<TensorSlot>& slots, std::string TensorSlot::*name_of,
                  const std::map<std::string, std::vector<int64_t>>& found,
                  const std::function<bool(const std::string&)>& may_ignore, const std::string& origin);

// "[576, 1536]".
std::string ShapeText(const std::vector<int64_t>& shape);

// Uninitialised memory of the slot's shape, in f32 for a norm and else in `dtype`; kUnavailable when there is
// none.
torch::Tensor AllocateSlot(const TensorSlot& slot, torch::Dtype dtype);

// One line per tensor in, one number out: the fingerprint of a checkpoint. `tensors` maps each name to its
// type and bytes; the order of files and shards plays no part.
struct FingerprintEntry {
  std::string type;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};
std::string Fingerprint(const std::map<std::string, FingerprintEntry>& tensors);

}  // namespace elrea
