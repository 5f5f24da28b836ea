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

// f16 d; 16 bytes of two q each: low nibbles are elements 0..15, high ones 16..31. x = d (q - 8)
void ReadQ4_0(const uint8_t* block, float* out) {
  const float d = HalfAt(block);
  const uint8_t* nibbles = block + 2;
#pragma omp simd
  for (int i = 0; i < kSmallBlock / 2; ++i) {
    out[i] = d * static_cast<float>((nibbles[i] & 15) - 8);
    out[i + kSmallBlock / 2] = d * static_cast<float>((nibbles[i] >> 4) - 8);
  }
}

// f16 d, f16 m; nibbles as Q4_0. x = d q + m
void ReadQ4_1(const uint8_t* block, float* out) {
  const float d = HalfAt(block), m = HalfAt(block + 2);
  const uint8_t* nibbles = block + 4;
#pragma omp simd
  for (int i = 0; i < kSmallBlock / 2; ++i) {
    out[i] = d * static_cast<float>(nibbles[i] & 15) + m;
    out[i + kSmallBlock / 2] = d * static_cast<float>(nibbles[i] >> 4) + m;
  }
}

// The five-bit integers of Q5_0 and Q5_1: bit i of `high` is bit 4 of element i, the rest are nibbles as in
// Q4_0.
void ReadFiveBits(const uint8_t* high_bytes, const uint8_t* nibbles, int32_t* q) {
  const uint32_t high = LoadAt<uint32_t>(high_bytes);
#pragma omp simd
  for (int i = 0; i < kSmallBlock / 2; ++i) {
    q[i] = (nibbles[i] & 15) | static_cast<int32_t>((high >> i) & 1) << 4;
    q[i + kSmallBlock / 2] = (nibbles[i] >> 4) | static_cast<int32_t>((high >> (i + kSmallBlock / 2)) & 1)
                                                     << 4;
  }
}

// f16 d; 4 bytes of high bits; nibbles. x = d (q - 16)
void ReadQ5_0(const uint8_t* block, float* out) {
  const float d = HalfAt(block);
  int32_t q[kSmallBlock];
  ReadFiveBits(block + 2, block + 6, q);
#pragma omp simd
  for (int i = 0; i < kSmallBlock; ++i) out[i] = d * static_cast<float>(q[i] - 16);
}

// f16 d, f16 m; 4 bytes of high bits; nibbles. x = d q + m
void ReadQ5_1(const uint8_t* block, float* out) {
  const float d = HalfAt(block), m = HalfAt(block + 2);
  int32_t q[kSmallBlock];
  ReadFiveBits(block + 4, block + 8, q);
#pragma omp simd
  for (int i = 0; i < kSmallBlock; ++i) out[i] = d * static_cast<float>(q[i]) + m;
}

// f16 d; 32 signed bytes. x = d q
void ReadQ8_0(const uint8_t* block, float* out) {
  const float d = HalfAt(block);
  const uint8_t* q = block + 2;
#pragma omp simd
  for (int i = 0; i < kSmallBlock; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(q[i]));
}

// Scale and minimum of the eight 32-element parts of a Q4_K or Q5_K block, six bits each in 12 bytes: parts
// 0..3 are the low six bits of bytes 0..3 (scale) and 4..7 (minimum); parts 4..7 take a nibble of bytes 8..11
// and as bits 4-5 the top two bits of those.
void ReadPartScales(const uint8_t* packed, float d, float m, float* scales, float* minima) {
  for (int j = 0; j < 4; ++j) {
    const uint8_t scale = packed[j], minimum = packed[j + 4], both = packed[j + 8];
    scales[j] = d * static_cast<float>(scale & 63);
    minima[j] = m * static_cast<float>(minimum & 63);
    scales[j + 4] = d * static_cast<float>((both & 15) | ((scale >> 2) & 0x30));
    minima[j + 4] = m * static_cast<float>((both >> 4) | ((minimum >> 2) & 0x30));
  }
}

// f16 d, f16 m; 12 bytes of scales; 4 x 32 bytes: low nibbles are part 2j, high ones part 2j + 1.
void ReadQ4_K(const uint8_t* block, float* out) {
  float scales[8], minima[8];
  ReadPartScales(block + 4, HalfAt(block), HalfAt(block + 2), scales, minima);
  for (int part = 0; part < 8; ++part) {
    const uint8_t* nibbles = block + 16 + 32 * (part / 2);
    const int shift = 4 * (part % 2);
    const float scale = scales[part], minimum = minima[part];
    float* values = out + 32 * part;
#pragma omp simd
    for (int i = 0; i < 32; ++i) {
      values[i] = scale * static_cast<float>((nibbles[i] >> shift) & 15) - minimum;
    }
  }
}

// As Q4_K with 32 bytes before the nibbles whose bit `part` of byte i is bit 4 of element i of that part.
void ReadQ5_K(const uint8_t* block, float* out) {
  float scales[8], minima[8];
  ReadPartScales(block + 4, HalfAt(block), HalfAt(block + 2), scales, minima);
  const uint8_t* high = block + 16;
  for (int part = 0; part < 8; ++part) {
    const uint8_t* nibbles = block + 48 + 32 * (part / 2);
    const int shift = 4 * (part % 2);
    const float scale = scales[part], minimum = minima[part];
    float* values = out + 32 * part;
#pragma omp simd
    for (int i = 0; i < 32; ++i) {
      const int q = ((nibbles[i] >> shift) & 15) | ((high[i] >> part) & 1) << 4;
      values[i] = scale * static_cast<float>(q) - minimum;
    }
  }
}

// 128 bytes of nibbles, 64 bytes of two high bits each, 16 signed scales, f16 d. Half h of the block (128
// elements) has four parts of 32: part s takes nibbles of bytes 64h + 32(s % 2) .., the low ones for s < 2,
// and bits 2s, 2s + 1 of bytes 32h .. of the high bits. x = d scale (q - 32), one scale for 16 elements.
void ReadQ6_K(const uint8_t* block, float* out) {
  const uint8_t *low = block, *high = block + 128, *scale_bytes = block + 192;
  const float d = HalfAt(block + 208);
  for (int part = 0; part < 8; ++part) {
    const int half = part / 4, s = part % 4;
    const uint8_t* nibbles = low + 64 * half + 32 * (s % 2);
    const uint8_t* bits = high + 32 * half;
    const int nibble_shift = 4 * (s / 2), bit_shift = 2 * s;
    for (int group = 0; group < 2; ++group) {
      const float scale = d * static_cast<float>(static_cast<int8_t>(scale_bytes[2 * part + group]));
      float* values = out + 32 * part + 16 * group;
#pragma omp simd
      for (int i = 0; i < 16; ++i) {
        const int at = 16 * group + i;
        const int q = ((nibbles[at] >> nibble_shift) & 15) | ((bits[at] >> bit_shift) & 3) << 4;
        values[i] = scale * static_cast<float>(q - 32);
      }
    }
  }
}

template <int kElements, int kBytes, typename ReadBlock>
void ForEachBlock(std::span<const std::byte> blocks, std::span<float> values, ReadBlock read) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(blocks.data());
  const size_t num_blocks = blocks.size() / kBytes;
  for (size_t i = 0; i < num_blocks; ++i) read(bytes + i * kBytes, values.data() + i * kElements);
}

}  // namespace

void Dequantize(GgmlType type, std::span<const std::byte> blocks, std::span<float> values) {
  switch (type) {
    case GgmlType::kF32:
      return ForEachBlock<1, 4>(blocks, values, ReadF32);
    case GgmlType::kF16:
      return ForEachBlock<1, 2>(blocks, values, ReadF16);
    case GgmlType::kBF16:
      return ForEachBlock<1, 2>(blocks, values, ReadBF16);
    case GgmlType::kQ4_0:
      return ForEachBlock<kSmallBlock, 18>(blocks, values, ReadQ4_0);
    case GgmlType::kQ4_1:
      return ForEachBlock<kSmallBlock, 20>(blocks, values, ReadQ4_1);
    case GgmlType::kQ5_0:
      return ForEachBlock<kSmallBlock, 22>(blocks, values, ReadQ5_0);
    case GgmlType::kQ5_1:
      return ForEachBlock<kSmallBlock, 24>(blocks, values, ReadQ5_1);
    case GgmlType::kQ8_0:
      return ForEachBlock<kSmallBlock, 34>(blocks, values, ReadQ8_0);
    case GgmlType::kQ4_K:
      return ForEachBlock<kSuperBlock, 144>(blocks, values, ReadQ4_K);
    case GgmlType::kQ5_K:
      return ForEachBlock<kSuperBlock, 176>(blocks, values, ReadQ5_K);
    case GgmlType::kQ6_K:
      return ForEachBlock<kSuperBlock, 210>(blocks, values, ReadQ6_K);
  }
  throw Error(ErrorKind::kInvalidInput,
              "tensor type " + GgmlTypeName(static_cast<uint32_t>(type)) + " cannot be dequantised");
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
