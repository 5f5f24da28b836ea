#include "model/matrix_codes.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "model/dequantize.h"
#include "model/part_codes.h"

namespace elrea {

using torch::Tensor;

namespace {

constexpr int64_t kTaskElements = int64_t{1} << 14;  // f32 values of a task stay in the second cache

void Read(const HostMatrixCodes& codes, int64_t begin, int64_t end, float* values, float* /*scratch*/) {
  codes.ReadRows(begin, end, values);
}

void Read(const HostMatrixCodes& codes, int64_t begin, int64_t end, c10::BFloat16* values, float* scratch) {
  const auto count = static_cast<size_t>((end - begin) * codes.cols());
  codes.ReadRows(begin, end, scratch);
  RoundToBFloat16({scratch, count}, {reinterpret_cast<uint16_t*>(values), count});
}

template <typename T>
void Fill(const HostMatrixCodes& codes, int64_t first_row, int64_t rows, T* values) {
  const int64_t cols = codes.cols(), step = std::max<int64_t>(1, kTaskElements / cols);
  at::parallel_for(0, (rows + step - 1) / step, 1, [&](int64_t first, int64_t last) {
    std::vector<float> scratch(static_cast<size_t>(step * cols));
    for (int64_t task = first; task < last; ++task) {
      const int64_t begin = task * step, end = std::min(rows, begin + step);
      Read(codes, first_row + begin, first_row + end, values + begin * cols, scratch.data());
    }
  });
}

template <typename T>
void ReadCoded(const CodedRows& coded, int64_t begin, int64_t end, T* values, float* scratch) {
  Read(static_cast<const HostMatrixCodes&>(*coded.codes), coded.first_row + begin, coded.first_row + end, values, scratch);
}

}  // namespace

std::shared_ptr<const MatrixCodes> HostMatrixCodes::To(torch::Device device) const {
  return std::make_shared<const DeviceMatrixCodes>(rows(), cols(), InParts().To(device));
}

void HostMatrixCodes::ReadInto(int64_t first, Tensor& values) const {
  if (values.scalar_type() == torch::kFloat) {
    Fill(*this, first, values.size(0), values.data_ptr<float>());
  } else {
    Fill(*this, first, values.size(0), values.data_ptr<c10::BFloat16>());
  }
}

void ReadRowsAs(const CodedRows& coded, int64_t begin, int64_t end, float* values, float* scratch) {
  ReadCoded(coded, begin, end, values, scratch);
}

void ReadRowsAs(const CodedRows& coded, int64_t begin, int64_t end, c10::BFloat16* values, float* scratch) {
  ReadCoded(coded, begin, end, values, scratch);
}

void DequantizeInto(const CodedRows& coded, Tensor& values) { coded.codes->ReadInto(coded.first_row, values); }

}  // namespace elrea
