// Several token sequences laid end to end, without padding: one GEMM serves all rows, attention stays inside a
// segment. A segment may continue a key/value cache.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>
#include <vector>

namespace elrea {

class KvCache;

struct PackedBatch {
  torch::Tensor ids;             // [tokens] i64
  std::vector<int64_t> offsets;  // [segments + 1], offsets[0] = 0, offsets[segments] = tokens
  std::vector<KvCache*> caches;  // [segments], null: none; or empty: no segment has a cache. Not owned.

  int64_t num_segments() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t num_tokens() const { return offsets.back(); }
  int64_t begin(int64_t segment) const { return offsets[segment]; }
  int64_t length(int64_t segment) const { return offsets[segment + 1] - offsets[segment]; }
  KvCache* cache(int64_t segment) const { return caches.empty() ? nullptr : caches[segment]; }

  // The offsets as attention kernels read them: [segments + 1] i32 on the device, sent once.
  const torch::Tensor& OffsetsOn(torch::Device device) const;
  mutable torch::Tensor device_offsets = {};  // what it keeps
  mutable torch::Tensor device_caches = {};   // where the caches are, for the layers of one pass (model/flash_attention.cc)
};

// Packs rows in order. REQUIRES: no row is empty.
PackedBatch PackRows(const std::vector<std::span<const int32_t>>& rows);

}  // namespace elrea
