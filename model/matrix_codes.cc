#include "model/matrix_codes.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "model/dequantize.h"

namespace elrea {

using torch::Tensor;

namespace {

constexpr int64_t kTaskElements = int64_t{1} << 14;  // f32 values of a task stay in the second cache

template <typename T>
void Fill(const CodedRows& coded, T* values) {
  const int64_t cols = coded.codes->cols(), step = std::max<int64_t>(1, kTaskElements / cols);
  at::parallel_for(0, (coded.rows + step - 1) / step, 1, [&](int64_t first, int64_t last) {
    std::vector<float> scratch(static_cast<size_t>(step * cols));
    for (int64_t task = first; task < last; ++task) {
      const int64_t begin = task * step, end = std::min(coded.rows, begin + step);
      ReadRowsAs(coded, begin, end, values + begin * cols, scratch.data());
    }
  });
}

}  // namespace

void ReadRowsAs(const CodedRows& coded, int64_t begin, int64_t end, float* values, float* /*scratch*/) {
  coded.codes->ReadRows(coded.first_row + begin, coded.first_row + end, values);
}

void ReadRowsAs(const CodedRows& coded, int64_t begin, int64_t end, c10::BFloat16* values, float* scratch) {
  const auto count = static_cast<size_t>((end - begin) * coded.codes->cols());
  coded.codes->ReadRows(coded.first_row + begin, coded.first_row + end, scratch);
  RoundToBFloat16({scratch, count}, {reinterpret_cast<uint16_t*>(values), count});
}

void DequantizeInto(const CodedRows& coded, Tensor& values) {
  if (values.scalar_type() == torch::kFloat) {
    Fill(coded, values.data_ptr<float>());
  } else {
    Fill(coded, values.data_ptr<c10::BFloat16>());
  }
}

}  // namespace elrea
