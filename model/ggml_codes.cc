#include "model/ggml_codes.h"

#include <ATen/Parallel.h>

#include "model/dequantize.h"
#include "model/part_codes.h"

namespace elrea {

bool GgmlCodes::Serves(GgmlType type, int64_t cols) {
  return FindCodeFormat(type).has_value() && cols % static_cast<int64_t>(GgmlBlockElements(type)) == 0;
}

GgmlCodes::GgmlCodes(GgmlType type, torch::Tensor bytes, int64_t cols)
    : HostMatrixCodes(bytes.size(0), cols), type_(type), bytes_(std::move(bytes)) {}

void GgmlCodes::ReadRows(int64_t begin, int64_t end, float* values) const {
  const auto row_bytes = static_cast<size_t>(bytes_.size(1));
  const auto* first = reinterpret_cast<const std::byte*>(bytes_.data_ptr<uint8_t>()) + static_cast<size_t>(begin) * row_bytes;
  const auto rows = static_cast<size_t>(end - begin);
  Dequantize(type_, {first, rows * row_bytes}, {values, rows * static_cast<size_t>(cols())});
}

namespace {

// The codes of one block, two a byte where they have four bits.
void WriteCodes(const BlockCodes& block, const CodeFormat& format, uint8_t* out) {
  if (format.bits == 8) {
    std::copy_n(block.codes, format.elements, out);
    return;
  }
  for (int i = 0; i < format.elements; i += 2)
    *out++ = static_cast<uint8_t>(block.codes[i] << 4 | block.codes[i + 1]);
}

}  // namespace

PartCodes GgmlCodes::InParts() const {
  const CodeFormat format = FindCodeFormat(type_).value();
  const int64_t block_bytes = static_cast<int64_t>(GgmlBlockBytes(type_)), num_blocks = bytes_.numel() / block_bytes;
  const int64_t code_bytes = format.elements * format.bits / 8, parts = format.elements / format.part;
  torch::Tensor scales = torch::empty({num_blocks * parts}), minima = torch::empty({num_blocks * parts});
  PartCodes all;
  all.part = format.part;
  all.bits = format.bits;
  all.codes = torch::empty({num_blocks * code_bytes}, torch::kByte);
  const auto* first = reinterpret_cast<const std::byte*>(bytes_.data_ptr<uint8_t>());
  at::parallel_for(0, num_blocks, /*grain_size=*/1024, [&](int64_t begin, int64_t end) {
    BlockCodes block;
    for (int64_t b = begin; b < end; ++b) {
      ReadCodes(type_, first + b * block_bytes, block);
      WriteCodes(block, format, all.codes.data_ptr<uint8_t>() + b * code_bytes);
      std::copy_n(block.scales, parts, scales.data_ptr<float>() + b * parts);
      std::copy_n(block.minima, parts, minima.data_ptr<float>() + b * parts);
    }
  });
  std::vector<float> map(size_t{1} << format.bits);
  for (size_t code = 0; code < map.size(); ++code) map[code] = static_cast<float>(static_cast<int>(code) - format.zero_point);
  all.map = PartCodes::MakeMap(map);
  const torch::Dtype kept = format.scales_are_f16 ? torch::kHalf : torch::kFloat;
  all.scales.values = scales.to(kept);
  if (format.has_minima) all.minima = minima.to(kept);
  return all;
}

}  // namespace elrea
