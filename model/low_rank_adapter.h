// One adapter as the decode engine reads it: bare pointers into tensors that the owner of the adapter keeps.
// The backbone knows nothing more of adapters.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "model/linear_delta.h"

namespace elrea {

struct LowRankGroup {
  struct Slot {
    const void* b_t;  // [rank, out] T
    int64_t out_first, out;
  };
  const void* a = nullptr;  // [slots * rank, in] T
  std::vector<Slot> slots;  // empty: nothing is added to this group
};

struct LowRankAdapter {
  int64_t rank = 0;
  float scale = 1;
  std::vector<std::array<LowRankGroup, kNumLinearGroups>> layers;

  const LowRankGroup& group(int64_t layer, LinearGroup g) const { return layers[layer][static_cast<int>(g)]; }
};

}  // namespace elrea
