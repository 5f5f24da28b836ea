// Passes that do not repeat what several segments begin with. Tokens that stand in front of a segment may have been passed
// before, once for all segments that begin with them: the segment's own pass then holds the rest, after a cache of their
// keys and values. On the way back every segment has gradients of its own in front as well, so the rows kept by both
// passes are put together, layer by layer.
#pragma once

#include <torch/types.h>

#include <vector>

#include "model/packed_batch.h"

namespace elrea {

// Rows [whole.num_tokens(), ...] in the order of `whole`: of each segment those of beginnings[segment] (null: none) and
// then its own, which are all that `own` has, in order. CPU; undefined when `own` is.
torch::Tensor JoinRows(const std::vector<const torch::Tensor*>& beginnings, const torch::Tensor& own,
                       const PackedBatch& whole);

}  // namespace elrea
