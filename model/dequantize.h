// Values of ggml's quantised blocks as f32, bit for bit those of gguf-py's reference (NaN payloads aside).
//
// A block holds 32 (Q4_0 .. Q8_0) or 256 (K types) small integers q and one or two f16 scales: x = d q (+ m),
// for the K types with d and m themselves products of an f16 and a 6- or 8-bit integer per 16 or 32 elements.
// Every product here fits f32's 24 bits exactly (11 + 7 + 5 bits and a sign at most), so neither the order of
// the factors nor a fused multiply-add changes the result. Layouts: ggml's ggml-common.h. Knows nothing of
// models or torch tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/gguf.h"

namespace elrea {

// REQUIRES: `blocks` is a whole number of blocks of `type`, and `values` has exactly the elements they hold.
// One thread; callers split over rows.
void Dequantize(GgmlType type, std::span<const std::byte> blocks, std::span<float> values);

// Round to nearest, ties to even; any NaN becomes 0x7fc0, as in torch. REQUIRES: equal sizes.
void RoundToBFloat16(std::span<const float> values, std::span<uint16_t> rounded);

}  // namespace elrea
