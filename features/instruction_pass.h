// One pass over the instructions of many rows, forward and back: the gradient of each row's mean next-token loss goes to
// the delta of the pass. Rows that begin with what was passed before are passed from there on.
#pragma once

#include <span>
#include <vector>

#include "features/example_gradients.h"
#include "features/shared_beginning.h"
#include "model/decoder.h"

namespace elrea {

struct InstructionRow {
  std::span<const int32_t> tokens;  // at least 2
  const SharedBeginning* beginning = nullptr;  // under the row's adapter, where the row Begins with it; null: none
  KvCache* cache = nullptr;  // receives the row's keys and values; empty, or null: nobody wants them
};

// `gradients` knows the rows' adapters, in order. `first_layer` as ForwardTape's.
void PassInstructions(const Decoder& decoder, const std::vector<InstructionRow>& rows, int64_t first_layer,
                      ExampleGradients& gradients);

}  // namespace elrea
