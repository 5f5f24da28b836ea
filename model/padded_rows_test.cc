#include "model/padded_rows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>

namespace elrea {
namespace {

using torch::Tensor;

TEST(PaddedRows, RoundUpByLittleToNumbersThatComeAgain) {
  std::set<int64_t> numbers;
  for (int64_t rows = 1; rows <= 4096; ++rows) {
    const int64_t padded = PaddedRows(rows);
    EXPECT_GE(padded, rows);
    EXPECT_LT(padded, rows + std::max<int64_t>(16, rows / 32 + 1));
    EXPECT_EQ(PaddedRows(padded), padded);
    EXPECT_LE(WholeRows(rows), rows);
    if (rows >= 16) {
      EXPECT_EQ(PaddedRows(WholeRows(rows)), WholeRows(rows));
    } else {
      EXPECT_EQ(WholeRows(rows), rows);
    }
    numbers.insert(padded);
  }
  EXPECT_LE(numbers.size(), 128U);
}

class MultiplyRowsTest : public testing::TestWithParam<torch::Dtype> {
 protected:
  Tensor Random(int64_t rows, int64_t columns) const { return at::randn({rows, columns}).to(GetParam()); }
  // The library sums in f32 whatever the number of rows; only the last rounding is bf16's.
  static void ExpectSame(const Tensor& y, const Tensor& x, const Tensor& w) {
    const Tensor expected = at::mm(x.to(torch::kFloat), w.to(torch::kFloat));
    EXPECT_EQ(y.sizes(), expected.sizes());
    const double error = (y.to(torch::kFloat) - expected).abs().max().item<double>();
    EXPECT_LT(error, (y.scalar_type() == torch::kFloat ? 1e-5 : 5e-3) * expected.abs().max().item<double>());
  }
};

TEST_P(MultiplyRowsTest, AnyRowsAndLayouts) {
  const Tensor w = Random(48, 32);
  for (const int64_t rows : {1, 15, 16, 17, 100, 333}) {
    const Tensor x = Random(rows, 48);
    Tensor with_room = EmptyRows(rows, 48, x.options());
    with_room.copy_(x);
    ExpectSame(MultiplyRows(x, w), x, w);
    ExpectSame(MultiplyRows(with_room, w), x, w);
    ExpectSame(MultiplyRows(x, Random(32, 48).copy_(w.t()).t()), x, w);
    ExpectSame(MultiplyRows(Random(48, rows).copy_(x.t()).t(), w), x, w);         // columns side by side
    ExpectSame(MultiplyRows(Random(rows, 64).narrow(1, 8, 48).copy_(x), w), x, w);  // rows apart
  }
}

TEST_P(MultiplyRowsTest, APartOfRowsIsMultipliedAsItStands) {
  const Tensor all = Random(200, 48), w = Random(48, 32);
  for (const int64_t begin : {0, 3, 100}) {
    const Tensor x = all.narrow(0, begin, 90), before = all.clone();
    ExpectSame(MultiplyRows(x, w), x, w);
    EXPECT_TRUE(torch::equal(all, before));
  }
}

TEST_P(MultiplyRowsTest, IntoABufferFromItsFirstRowOn) {
  const Tensor w = Random(48, 32), x = Random(21, 48);
  Tensor buffer = torch::full({40, 32}, 7, x.options());
  const Tensor y = MultiplyRowsInto(x, w, buffer);
  ExpectSame(y, x, w);
  EXPECT_EQ(y.data_ptr(), buffer.data_ptr());
  EXPECT_TRUE((buffer.narrow(0, PaddedRows(21), 40 - PaddedRows(21)) == 7).all().item<bool>());
}

// Long sums of few columns, which are shared out where the library would not.
TEST_P(MultiplyRowsTest, ManyRowsOfLongSums) {
  for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{390, 2048}, {700, 1024}}) {
    const Tensor x = Random(rows, depth), w = Random(depth, 32);
    ExpectSame(MultiplyRows(x, w), x, w);
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, MultiplyRowsTest, testing::Values(torch::kFloat, torch::kBFloat16),
                         [](const auto& info) { return info.param == torch::kFloat ? "f32" : "bf16"; });

}  // namespace
}  // namespace elrea
