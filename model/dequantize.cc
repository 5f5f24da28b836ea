// The blocks' byte layouts, one function per type. Inner loops have constant trip counts and no branches, so
// that they vectorise; a thread's row stays in its cache.
#include "model/dequantize.h"

#include <c10/util/Half.h>

#include <bit>
#include <cstring>

#include "core/error.h"

namespace elrea {
namespace {

constexpr int kSmallBlock = 32;   // elements of a Q4_0 .. Q8_0 block
constexpr int kSuperBlock = 256;  // elements of a K block

template <typename T>
T LoadAt(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

float HalfAt(const uint8_t* bytes) { return static_cast<float>(LoadAt<c10::Half>(bytes)); }

void ReadF32(const uint8_t* block, float* out) { *out = LoadAt<float>(block); }

void ReadF16(const uint8_t* block, float* out) { *out = HalfAt(block); }

void ReadBF16(const uint8_t* block, float* out) {
  *out = std::bit_cast<float>(static_cast<uint32_t>(LoadAt<uint16_t>(block)) << 16);
}

// Parts of a small block: one.
void SetPart(BlockCodes& b, float scale, float minimum) {
  b.scales[0] = scale;
  b.minima[0] = minimum;
}

// 16 bytes of two codes each: low nibbles are elements 0..15, high ones 16..31.
void ReadNibbles(const uint8_t* nibbles, BlockCodes& b) {
#pragma omp simd
  for (int i = 0; i < kSmallBlock / 2; ++i) {
    b.codes[i] = nibbles[i] & 15;
    b.codes[i + kSmallBlock / 2] = nibbles[i] >> 4;
  }
}

// Nibbles and bit 4 of each code: bit i of `high_bytes` is that of element i.
void ReadFiveBits(const uint8_t* high_bytes, const uint8_t* nibbles, BlockCodes& b) {
  const uint32_t high = LoadAt<uint32_t>(high_bytes);
#pragma omp simd
  for (int i = 0; i < kSmallBlock / 2; ++i) {
    b.codes[i] = static_cast<uint8_t>((nibbles[i] & 15) | ((high >> i) & 1) << 4);
    b.codes[i + kSmallBlock / 2] =
        static_cast<uint8_t>((nibbles[i] >> 4) | ((high >> (i + kSmallBlock / 2)) & 1) << 4);
  }
}

// f16 d; nibbles. x = d (q - 8)
void ReadQ4_0(const uint8_t* block, BlockCodes& b) {
  SetPart(b, HalfAt(block), -0.0f);
  ReadNibbles(block + 2, b);
}

// f16 d, f16 m; nibbles. x = d q + m
void ReadQ4_1(const uint8_t* block, BlockCodes& b) {
  SetPart(b, HalfAt(block), HalfAt(block + 2));
  ReadNibbles(block + 4, b);
}

// f16 d; 4 bytes of high bits; nibbles. x = d (q - 16)
void ReadQ5_0(const uint8_t* block, BlockCodes& b) {
  SetPart(b, HalfAt(block), -0.0f);
  ReadFiveBits(block + 2, block + 6, b);
}

// f16 d, f16 m; 4 bytes of high bits; nibbles. x = d q + m
void ReadQ5_1(const uint8_t* block, BlockCodes& b) {
  SetPart(b, HalfAt(block), HalfAt(block + 2));
  ReadFiveBits(block + 4, block + 8, b);
}

// f16 d; 32 signed bytes. x = d q; the code is q + 128.
void ReadQ8_0(const uint8_t* block, BlockCodes& b) {
  SetPart(b, HalfAt(block), -0.0f);
#pragma omp simd
  for (int i = 0; i < kSmallBlock; ++i) b.codes[i] = block[2 + i] ^ 128;
}

// f16 d, f16 m; then the scale and minimum of eight parts of 32 elements, six bits each in 12 bytes: parts
// 0..3 are the low six bits of bytes 0..3 (scale) and 4..7 (minimum); parts 4..7 take a nibble of bytes 8..11
// and as bits 4-5 the top two bits of those. x = d scale q - m minimum
void ReadPartScales(const uint8_t* block, BlockCodes& b) {
  const float d = HalfAt(block), m = HalfAt(block + 2);
  const uint8_t* packed = block + 4;
  for (int j = 0; j < 4; ++j) {
    const uint8_t scale = packed[j], minimum = packed[j + 4], both = packed[j + 8];
    b.scales[j] = d * static_cast<float>(scale & 63);
    b.minima[j] = -(m * static_cast<float>(minimum & 63));
    b.scales[j + 4] = d * static_cast<float>((both & 15) | ((scale >> 2) & 0x30));
    b.minima[j + 4] = -(m * static_cast<float>((both >> 4) | ((minimum >> 2) & 0x30)));
  }
}

// Scales; 4 x 32 bytes: low nibbles are part 2j, high ones part 2j + 1.
void ReadQ4_K(const uint8_t* block, BlockCodes& b) {
  ReadPartScales(block, b);
  for (int part = 0; part < 8; ++part) {
    const uint8_t* nibbles = block + 16 + 32 * (part / 2);
    const int shift = 4 * (part % 2);
#pragma omp simd
    for (int i = 0; i < 32; ++i) b.codes[32 * part + i] = (nibbles[i] >> shift) & 15;
  }
}

// As Q4_K with 32 bytes before the nibbles whose bit `part` of byte i is bit 4 of element i of that part.
void ReadQ5_K(const uint8_t* block, BlockCodes& b) {
  ReadPartScales(block, b);
  const uint8_t* high = block + 16;
  for (int part = 0; part < 8; ++part) {
    const uint8_t* nibbles = block + 48 + 32 * (part / 2);
    const int shift = 4 * (part % 2);
#pragma omp simd
    for (int i = 0; i < 32; ++i) {
      b.codes[32 * part + i] =
          static_cast<uint8_t>(((nibbles[i] >> shift) & 15) | ((high[i] >> part) & 1) << 4);
    }
  }
}

// 128 bytes of nibbles, 64 bytes of two high bits each, 16 signed scales, f16 d. Half h of the block (128
// elements) has four runs of 32: run s takes nibbles of bytes 64h + 32(s % 2) .., the low ones for s < 2, and
// bits 2s, 2s + 1 of bytes 32h .. of the high bits. x = d scale (q - 32), one scale for 16 elements.
void ReadQ6_K(const uint8_t* block, BlockCodes& b) {
  const uint8_t *low = block, *high = block + 128, *scale_bytes = block + 192;
  const float d = HalfAt(block + 208);
  for (int run = 0; run < 8; ++run) {
    const int half = run / 4, s = run % 4;
    const uint8_t* nibbles = low + 64 * half + 32 * (s % 2);
    const uint8_t* bits = high + 32 * half;
    const int nibble_shift = 4 * (s / 2), bit_shift = 2 * s;
#pragma omp simd
    for (int i = 0; i < 32; ++i) {
      b.codes[32 * run + i] =
          static_cast<uint8_t>(((nibbles[i] >> nibble_shift) & 15) | ((bits[i] >> bit_shift) & 3) << 4);
    }
  }
  for (int part = 0; part < 16; ++part) {
    b.scales[part] = d * static_cast<float>(static_cast<int8_t>(scale_bytes[part]));
    b.minima[part] = -0.0f;
  }
}

template <int kElements, int kBytes, typename ReadBlock>
void ForEachBlock(std::span<const std::byte> blocks, std::span<float> values, ReadBlock read) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(blocks.data());
  const size_t num_blocks = blocks.size() / kBytes;
  for (size_t i = 0; i < num_blocks; ++i) read(bytes + i * kBytes, values.data() + i * kElements);
}

template <int kPart>
void WriteParts(const BlockCodes& b, int elements, int zero_point, float* values) {
  for (int part = 0; part < elements / kPart; ++part) {
    const float scale = b.scales[part], minimum = b.minima[part];
#pragma omp simd
    for (int i = 0; i < kPart; ++i) {
      values[kPart * part + i] = scale * static_cast<float>(b.codes[kPart * part + i] - zero_point) + minimum;
    }
  }
}

}  // namespace

std::optional<CodeFormat> FindCodeFormat(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_0:
      return CodeFormat{kSmallBlock, 32, 4, 8, false, true};
    case GgmlType::kQ4_1:
      return CodeFormat{kSmallBlock, 32, 4, 0, true, true};
    case GgmlType::kQ5_0:
      return CodeFormat{kSmallBlock, 32, 8, 16, false, true};
    case GgmlType::kQ5_1:
      return CodeFormat{kSmallBlock, 32, 8, 0, true, true};
    case GgmlType::kQ8_0:
      return CodeFormat{kSmallBlock, 32, 8, 128, false, true};
    case GgmlType::kQ4_K:
      return CodeFormat{kSuperBlock, 32, 4, 0, true, false};
    case GgmlType::kQ5_K:
      return CodeFormat{kSuperBlock, 32, 8, 0, true, false};
    case GgmlType::kQ6_K:
      return CodeFormat{kSuperBlock, 16, 8, 32, false, false};
    default:
      return std::nullopt;
  }
}

void ReadCodes(GgmlType type, const std::byte* block, BlockCodes& out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(block);
  switch (type) {
    case GgmlType::kQ4_0:
      return ReadQ4_0(bytes, out);
    case GgmlType::kQ4_1:
      return ReadQ4_1(bytes, out);
    case GgmlType::kQ5_0:
      return ReadQ5_0(bytes, out);
    case GgmlType::kQ5_1:
      return ReadQ5_1(bytes, out);
    case GgmlType::kQ8_0:
      return ReadQ8_0(bytes, out);
    case GgmlType::kQ4_K:
      return ReadQ4_K(bytes, out);
    case GgmlType::kQ5_K:
      return ReadQ5_K(bytes, out);
    case GgmlType::kQ6_K:
      return ReadQ6_K(bytes, out);
    default:
      throw Error(ErrorKind::kInternal,
                  "tensor type " + GgmlTypeName(static_cast<uint32_t>(type)) + " has no codes");
  }
}

void Dequantize(GgmlType type, std::span<const std::byte> blocks, std::span<float> values) {
  switch (type) {
    case GgmlType::kF32:
      return ForEachBlock<1, 4>(blocks, values, ReadF32);
    case GgmlType::kF16:
      return ForEachBlock<1, 2>(blocks, values, ReadF16);
    case GgmlType::kBF16:
      return ForEachBlock<1, 2>(blocks, values, ReadBF16);
    default:
      break;
  }
  const std::optional<CodeFormat> format = FindCodeFormat(type);
  if (!format) {
    throw Error(ErrorKind::kInvalidInput,
                "tensor type " + GgmlTypeName(static_cast<uint32_t>(type)) + " cannot be dequantised");
  }
  BlockCodes codes;
  const auto write = format->part == 16 ? WriteParts<16> : WriteParts<32>;
  const auto bytes = static_cast<size_t>(GgmlBlockBytes(type));
  for (size_t i = 0; i < blocks.size() / bytes; ++i) {
    ReadCodes(type, blocks.data() + i * bytes, codes);
    write(codes, format->elements, format->zero_point,
          values.data() + i * static_cast<size_t>(format->elements));
  }
}

void RoundToBFloat16(std::span<const float> values, std::span<uint16_t> rounded) {
  const float* source = values.data();
  uint16_t* target = rounded.data();
#pragma omp simd
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(source[i]);
    const uint32_t even = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    target[i] = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : even);
  }
}

}  // namespace elrea
