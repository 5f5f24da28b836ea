#include "model/testing_gguf.h"

#include <c10/util/Half.h>

#include <cstring>

#include "core/error.h"
#include "core/rng.h"

namespace elrea {
namespace {

// Where a block keeps its f16 scale and minimum (-1: none), and values that give numbers of size one.
struct BlockNumbers {
  int scale_at, minimum_at;
  double scale, minimum;
};
BlockNumbers NumbersOf(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_0:
      return {0, -1, 1.0 / 8, 0};
    case GgmlType::kQ4_1:
      return {0, 2, 2.0 / 15, -1};
    case GgmlType::kQ5_0:
      return {0, -1, 1.0 / 16, 0};
    case GgmlType::kQ5_1:
      return {0, 2, 2.0 / 31, -1};
    case GgmlType::kQ8_0:
      return {0, -1, 1.0 / 128, 0};
    case GgmlType::kQ4_K:
      return {0, 2, 2.0 / 15 / 40, 1.0 / 40};  // scales and minima in the block are 0..63
    case GgmlType::kQ5_K:
      return {0, 2, 2.0 / 31 / 40, 1.0 / 40};
    case GgmlType::kQ6_K:
      return {208, -1, 1.0 / 32 / 64, 0};
    default:
      throw Error(ErrorKind::kInternal, "not a quantised type");
  }
}

}  // namespace

std::string RandomBlocks(GgmlType type, int64_t elements, uint64_t seed, double magnitude) {
  const BlockNumbers numbers = NumbersOf(type);
  const int64_t block_bytes = GgmlBlockBytes(type), num_blocks = elements / GgmlBlockElements(type);
  std::string bytes(static_cast<size_t>(num_blocks * block_bytes), '\0');
  Rng rng(seed);
  for (char& byte : bytes) byte = static_cast<char>(rng.Below(256));
  for (int64_t b = 0; b < num_blocks; ++b) {
    const auto put = [&](int at, double value) {
      const c10::Half half(
          static_cast<float>(value * magnitude * (0.8 + 0.4 * static_cast<double>(b % 8) / 8)));
      if (at >= 0) std::memcpy(&bytes[static_cast<size_t>(b * block_bytes + at)], &half, sizeof half);
    };
    put(numbers.scale_at, numbers.scale);
    put(numbers.minimum_at, numbers.minimum);
  }
  return bytes;
}

}  // namespace elrea
