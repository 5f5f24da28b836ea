// Keys (after rope) and values of one sequence under one adapter. Never shared between adapters. Single-thread.
#pragma once

#include <torch/types.h>

#include "model/config.h"

namespace elrea {

class KvCache {
 public:
  // Room for `capacity` positions is taken at once; Reserve grows it.
  KvCache(const ModelConfig& config, torch::Dtype dtype, torch::Device device, int64_t capacity);

  int64_t length() const { return length_; }
  int64_t capacity() const { return keys_.size(1); }
  void Reserve(int64_t capacity);  // keeps what is stored
  // A cache of its own with the first `length` positions. REQUIRES: length <= this->length(), capacity >= length.
  KvCache CopyPrefix(int64_t length, int64_t capacity) const;
  // What `capacity` positions take.
  static int64_t NumBytes(const ModelConfig& config, torch::Dtype dtype, int64_t capacity);

  torch::Tensor keys(int64_t layer) const { return keys_[layer]; }      // [capacity, kv_heads * head_dim]
  torch::Tensor values(int64_t layer) const { return values_[layer]; }  // [capacity, kv_heads * head_dim]
  // The same without a tensor around it. T: the cache's dtype.
  template <typename T>
  T* key_data(int64_t layer) const { return keys_.data_ptr<T>() + layer * keys_.stride(0); }
  template <typename T>
  T* value_data(int64_t layer) const { return values_.data_ptr<T>() + layer * values_.stride(0); }
  int64_t layer_stride() const { return keys_.stride(0); }  // elements between the same position of two layers
  // The decoder advances the length once per pass, after the last layer.
  void Advance(int64_t num_tokens) { length_ += num_tokens; }
  // Forgets positions from `length` on. REQUIRES: length <= length().
  void Truncate(int64_t length) { length_ = length; }

 private:
  KvCache() = default;
  torch::Tensor keys_, values_;  // [layers, capacity, kv_heads * head_dim]
  int64_t length_ = 0;
};

}  // namespace elrea
