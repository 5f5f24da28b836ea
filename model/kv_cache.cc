#include "model/kv_cache.h"

#include <algorithm>

namespace elrea {

KvCache::KvCache(const ModelConfig& config, torch::Dtype dtype, torch::Device device, int64_t capacity)
    : keys_(torch::empty({config.layers, capacity, config.kv_heads * config.head_dim},
                         torch::TensorOptions().dtype(dtype).device(device))),
      values_(torch::empty_like(keys_)) {}

void KvCache::Reserve(int64_t capacity) {
  if (capacity <= this->capacity()) return;
  capacity = std::max(capacity, this->capacity() * 3 / 2);
  for (torch::Tensor* stored : {&keys_, &values_}) {
    torch::Tensor grown = torch::empty({stored->size(0), capacity, stored->size(2)}, stored->options());
    // The layers of a pass append one after the other, so entries past length_ may already be in use: copy all.
    grown.narrow(1, 0, stored->size(1)).copy_(*stored);
    *stored = grown;
  }
}

KvCache KvCache::CopyPrefix(int64_t length, int64_t capacity) const {
  KvCache copy;
  const auto taken = [&](const torch::Tensor& from) {
    torch::Tensor to = torch::empty({from.size(0), capacity, from.size(2)}, from.options());
    to.narrow(1, 0, length).copy_(from.narrow(1, 0, length));
    return to;
  };
  copy.keys_ = taken(keys_);
  copy.values_ = taken(values_);
  copy.length_ = length;
  return copy;
}

int64_t KvCache::NumBytes(const ModelConfig& config, torch::Dtype dtype, int64_t capacity) {
  const auto width = static_cast<int64_t>(c10::elementSize(dtype));
  return 2 * config.layers * capacity * config.kv_heads * config.head_dim * width;
}

}  // namespace elrea
