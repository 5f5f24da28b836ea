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

}  // namespace elrea
