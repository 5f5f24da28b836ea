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
#include <optional>
#include <span>

#include "core/gguf.h"

namespace elrea {

// How a quantised type stores its numbers: x = scale * (code - zero_point) + minimum, one scale and one
// minimum for each part of a block.
struct CodeFormat {
  int elements = 0;    // of one block
  int part = 0;        // elements that share a scale: 16 or 32
  int bits = 0;        // of a code: 4, or up to 8
  int zero_point = 0;  // 0 where there are minima
  bool has_minima = false;
  bool scales_are_f16 = false;  // else products, which need f32
};
// Nothing for types that are not quantised.
std::optional<CodeFormat> FindCodeFormat(GgmlType type);

// One block in parts. Minima are -0 where the type has none, so that adding them changes no bit.
struct BlockCodes {
  uint8_t codes[256];
  float scales[16], minima[16];  // by part
};
// REQUIRES: a type with a code format; `block` holds one block.
void ReadCodes(GgmlType type, const std::byte* block, BlockCodes& out);

// REQUIRES: `blocks` is a whole number of blocks of `type`, and `values` has exactly the elements they hold.
// One thread; callers split over rows.
void Dequantize(GgmlType type, std::span<const std::byte> blocks, std::span<float> values);

// Round to nearest, ties to even; any NaN becomes 0x7fc0, as in torch. REQUIRES: equal sizes.
void RoundToBFloat16(std::span<const float> values, std::span<uint16_t> rounded);

}  // namespace elrea
