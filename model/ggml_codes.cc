#include "model/ggml_codes.h"

#include "model/dequantize.h"

namespace elrea {

bool GgmlCodes::Serves(GgmlType type, int64_t cols) {
  return FindCodeFormat(type).has_value() && cols % static_cast<int64_t>(GgmlBlockElements(type)) == 0;
}

GgmlCodes::GgmlCodes(GgmlType type, torch::Tensor bytes, int64_t cols)
    : MatrixCodes(bytes.size(0), cols), type_(type), bytes_(std::move(bytes)) {}

void GgmlCodes::ReadRows(int64_t begin, int64_t end, float* values) const {
  const auto row_bytes = static_cast<size_t>(bytes_.size(1));
  const auto* first = reinterpret_cast<const std::byte*>(bytes_.data_ptr<uint8_t>()) + static_cast<size_t>(begin) * row_bytes;
  const auto rows = static_cast<size_t>(end - begin);
  Dequantize(type_, {first, rows * row_bytes}, {values, rows * static_cast<size_t>(cols())});
}

}  // namespace elrea
