// An adapter in the form the decode engine reads.
#pragma once

#include "lora/lora_weights.h"
#include "model/low_rank_adapter.h"

namespace elrea {

// Points into `lora`, which must outlive the view and not be refreshed meanwhile. kInternal for one with a gate.
LowRankAdapter DecodeView(const LoraWeights& lora);

}  // namespace elrea
