// The low-rank update of single rows (lora/low_rank_rows.h) as one CUDA launch.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace elrea::cuda {

// One adapter in one group of linear layers.
struct LowRankEntry {
  static constexpr int kMaxSlots = 3;  // members of a group
  struct Slot {
    const void* b_t;  // [rank, out] T
    int32_t out_first, out;
  };
  const void* a;  // [num_slots * rank, in] T, as aligned as an allocation
  int32_t rank, num_slots;
  float scale;
  Slot slots[kMaxSlots];
};

struct LowRankPlace {
  int32_t row, entry;
};

// y[row] += scale B (A x[row]) for each place, under entries[entry]. All in device memory; no row comes twice.
template <typename T>
struct LowRankRowsArgs {
  const LowRankEntry* entries;
  const LowRankPlace* places;  // [num_places]
  int64_t num_places;
  const T* x;  // [rows, in]
  T* y;        // [rows, y_width]
  int64_t in, y_width;
  int64_t max_hidden;  // the largest num_slots * rank of the entries, up to kMaxHidden
};
constexpr int64_t kMaxHidden = 8192;
template <typename T>
cudaError_t AddLowRankRows(const LowRankRowsArgs<T>& args, cudaStream_t stream);

}  // namespace elrea::cuda
