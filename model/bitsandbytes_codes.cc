#include "model/bitsandbytes_codes.h"

#include <algorithm>

#include "model/part_codes.h"
#include "model/simd.h"

namespace elrea {

using torch::Tensor;

namespace {

// Rounded before what follows: a compiler may join a product and a sum into one rounding, which is not what
// bitsandbytes computes.
float RoundedProduct(float a, float b) {
  volatile float product = a * b;
  return product;
}

// Sixteen codes of eight bytes through the map. REQUIRES: byte aligned, that is an even first element.
simd::Vec Lookup(const simd::Vec& map, const uint8_t* bytes) {
  uint64_t eight;
  std::memcpy(&eight, bytes, sizeof eight);
  simd::VecI index;
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const auto byte = static_cast<int32_t>((eight >> (8 * i)) & 255);
    index[2 * i] = byte >> 4;
    index[2 * i + 1] = byte & 15;
  }
  return __builtin_shuffle(map, index);
}

// values [count] of elements that share a scale, from element `first` on.
void ReadRun(const std::array<float, 16>& map, const uint8_t* codes, int64_t first, int64_t count, float scale,
             float* values) {
  int64_t i = 0;
  if (first % 2 == 0) {
    const simd::Vec table = simd::Load(map.data());
    for (; i + simd::kLanes <= count; i += simd::kLanes)
      simd::Store(values + i, Lookup(table, codes + (first + i) / 2) * scale);
  }
  for (; i < count; ++i) {
    const uint8_t byte = codes[(first + i) / 2];
    values[i] = map[(first + i) % 2 == 0 ? byte >> 4 : byte & 15] * scale;
  }
}

}  // namespace

FourBitCodes::FourBitCodes(int64_t rows, int64_t cols, FourBitParts parts)
    : HostMatrixCodes(rows, cols), parts_(std::move(parts)) {}

int64_t FourBitCodes::num_bytes() const {
  int64_t bytes = 0;
  for (const Tensor* t : {&parts_.codes, &parts_.absmax, &parts_.nested_map, &parts_.nested_absmax})
    bytes += t->defined() ? static_cast<int64_t>(t->nbytes()) : 0;
  return bytes;
}

float FourBitCodes::Scale(int64_t block) const {
  if (parts_.nested_block == 0) return parts_.absmax.data_ptr<float>()[block];
  const float value = parts_.nested_map.data_ptr<float>()[parts_.absmax.data_ptr<uint8_t>()[block]];
  return RoundedProduct(value, parts_.nested_absmax.data_ptr<float>()[block / parts_.nested_block]) + parts_.offset;
}

Tensor FourBitCodes::Scales() const {
  Tensor scales = torch::empty({rows(), cols()});
  float* all = scales.data_ptr<float>();
  const int64_t count = rows() * cols();
  for (int64_t begin = 0; begin < count; begin += parts_.block)
    std::fill(all + begin, all + std::min(count, begin + parts_.block), Scale(begin / parts_.block));
  return scales;
}

void FourBitCodes::ReadRows(int64_t begin, int64_t end, float* values) const {
  const auto* codes = parts_.codes.data_ptr<uint8_t>();
  const int64_t last = end * cols();
  for (int64_t i = begin * cols(); i < last;) {
    const int64_t block = i / parts_.block, count = std::min(last, (block + 1) * parts_.block) - i;
    ReadRun(parts_.map, codes, i, count, Scale(block), values);
    values += count;
    i += count;
  }
}

PartCodes FourBitCodes::InParts() const {
  PartCodes all;
  all.part = std::min(parts_.block, rows() * cols());
  all.bits = 4;
  all.codes = parts_.codes;
  all.map = PartCodes::MakeMap({parts_.map.begin(), parts_.map.end()});
  all.scales = {parts_.absmax, parts_.nested_block, parts_.nested_map, parts_.nested_absmax, parts_.offset};
  return all;
}

EightBitCodes::EightBitCodes(Tensor codes, Tensor scales)
    : HostMatrixCodes(codes.size(0), codes.size(1)), codes_(std::move(codes)), scales_(std::move(scales)) {}

int64_t EightBitCodes::num_bytes() const { return static_cast<int64_t>(codes_.nbytes() + scales_.nbytes()); }

void EightBitCodes::ReadRows(int64_t begin, int64_t end, float* values) const {
  const int8_t* codes = codes_.data_ptr<int8_t>() + begin * cols();
  for (int64_t row = begin; row < end; ++row) {
    const float scale = scales_.data_ptr<float>()[row];
    for (int64_t i = 0; i < cols(); ++i) *values++ = static_cast<float>(*codes++) * scale * (1.0f / 127.0f);
  }
}

PartCodes EightBitCodes::InParts() const {
  std::vector<float> map(256);
  for (size_t code = 0; code < map.size(); ++code) map[code] = static_cast<float>(static_cast<int8_t>(code));
  PartCodes all;
  all.part = cols();
  all.bits = 8;
  all.codes = codes_.view(torch::kByte).view(-1);
  all.map = PartCodes::MakeMap(map);
  all.scales.values = scales_;
  all.factor = 1.0f / 127.0f;
  return all;
}

}  // namespace elrea
