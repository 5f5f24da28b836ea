// Random blocks of GGUF's quantised types, for tests.
#pragma once

#include <cstdint>
#include <string>

#include "core/gguf_builder.h"

namespace elrea {

// Blocks of a quantised type holding `elements` values, most of them within +-magnitude: random codes, and
// scales that differ from block to block.
std::string RandomBlocks(GgmlType type, int64_t elements, uint64_t seed, double magnitude);

}  // namespace elrea
