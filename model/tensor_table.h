// The list of a backbone's tensors: each is named once, with its shape, its place in ModelWeights and what
// the two checkpoint formats call it. Loading, checking, dumping and counting all walk this list.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/weights.h"

namespace elrea {

struct TensorSlot {
  std::string gguf_name;       // "blk.0.attn_q.weight"
  std::string hf_name;         // "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;  // row-major
  torch::Tensor* tensor;       // into the ModelWeights the list was made of
  CodedRows* codes = nullptr;  // what may hold the matrix instead; null: nothing (vectors, the vocabulary's)
  bool is_norm = false;        // [n], kept in f32
  bool is_bias = false;        // [n], kept in f32
  // GGUF rows are in interleaved rope order within each of so many heads; 0 = as is.
  int64_t interleaved_heads = 0;
  // Where several slots are one tensor of the checkpoint (q, k, v of Phi-3), they lie in it one after the other: the
  // stored tensor has `stored_rows` rows, of which this slot's begin at `first_row`.
  int64_t first_row = 0, stored_rows = 0;

  bool is_vector() const { return is_norm || is_bias; }
  std::vector<int64_t> stored_shape() const {
    std::vector<int64_t> stored = shape;
    stored[0] = stored_rows;
    return stored;
  }
};

// The tensors `weights.config` calls for; sizes `weights.layers` to config.layers. A tied head is no slot of
// its own. REQUIRES: a valid config. The slots point into `weights`, which must not move meanwhile.
std::vector<TensorSlot> ListTensors(ModelWeights& weights);

// A tensor as a checkpoint holds it: one slot's, or those of several put together; contiguous.
struct StoredTensor {
  TensorSlot slot;  // of the first part
  torch::Tensor tensor;
};
std::vector<StoredTensor> StoredTensors(const std::vector<TensorSlot>& slots);

// Throws one Error naming all tensors that are missing or have another shape than expected (kCorrupt) or are
// not known (kInvalidInput when that is all; `may_ignore` excuses names). `found` holds the shapes in the
// checkpoint, `name_of` picks the format's name.
void CheckTensors(const std::vector<TensorSlot>& slots, std::string TensorSlot::*name_of,
                  const std::map<std::string, std::vector<int64_t>>& found,
                  const std::function<bool(const std::string&)>& may_ignore, const std::string& origin);

// "[576, 1536]".
std::string ShapeText(const std::vector<int64_t>& shape);

// Uninitialised memory of the slot's shape, in f32 for a vector and else in `dtype`; kUnavailable when there is
// none.
torch::Tensor AllocateSlot(const TensorSlot& slot, torch::Dtype dtype);

// A tensor that lies in a mapped file, which `file` keeps mapped; its pages leave the memory with it. bytes: at an address
// that suits the type.
torch::Tensor MappedTensor(std::span<const std::byte> bytes, const std::vector<int64_t>& shape, torch::Dtype type,
                           std::shared_ptr<const void> file);

// One line per tensor in, one number out: the fingerprint of a checkpoint. `tensors` maps each name to its
// type and bytes; the order of files and shards plays no part.
struct FingerprintEntry {
  std::string type;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};
std::string Fingerprint(const std::map<std::string, FingerprintEntry>& tensors);

}  // namespace elrea
