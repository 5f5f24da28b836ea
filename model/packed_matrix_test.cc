// Packed matrices against the dequantised ones, for every quantised type: single values bit for bit, products
// against double sums over the same values, rows independent of each other.
#include "model/packed_matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/rng.h"
#include "model/amx.h"
#include "model/testing_gguf.h"

namespace elrea {
namespace {

constexpr GgmlType kTypes[] = {GgmlType::kQ4_0, GgmlType::kQ4_1, GgmlType::kQ5_0, GgmlType::kQ5_1,
                               GgmlType::kQ8_0, GgmlType::kQ4_K, GgmlType::kQ5_K, GgmlType::kQ6_K};
constexpr int64_t kOut = 48, kIn = 512;

int64_t Reversed(int64_t row) { return kOut - 1 - row; }

class PackedMatrixTest : public testing::TestWithParam<GgmlType> {
 protected:
  PackedMatrixTest() : blocks_(RandomBlocks(GetParam(), kOut * kIn, 5, 1)), values_(kOut * kIn) {
    Dequantize(GetParam(), {reinterpret_cast<const std::byte*>(blocks_.data()), blocks_.size()}, values_);
  }
  void SetUp() override {
    if (!PackedMatrix::Serves(GetParam(), kOut, kIn)) GTEST_SKIP() << "this processor lacks AVX-512 VNNI";
  }
  PackedMatrix Pack() const {
    return {GetParam(),
            {reinterpret_cast<const std::byte*>(blocks_.data()), blocks_.size()},
            kOut,
            kIn,
            Reversed};
  }
  // Rows with a few large elements, as activations have.
  static std::vector<float> RandomRows(int64_t rows) {
    Rng rng(8);
    std::vector<float> x(static_cast<size_t>(rows * kIn));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng.Normal() * (i % 97 == 0 ? 50 : 1));
    std::fill(x.begin() + 64, x.begin() + 96, 0.0f);  // a block of zeros
    return x;
  }
  static std::vector<float> Product(const PackedMatrix& packed, const float* x, int64_t rows) {
    QuantizedRows quantized;
    quantized.Resize(kIn, rows);
    for (int64_t r = 0; r < rows; ++r) quantized.SetBlocks(r, 0, kIn / kActivationBlock, x + r * kIn);
    std::vector<float> y(static_cast<size_t>(rows * kOut));
    packed.Multiply(quantized, 0, 1, y.data(), kOut);
    packed.Multiply(quantized, 1, packed.num_tiles(), y.data(), kOut);
    return y;
  }
  std::string blocks_;
  std::vector<float> values_;
};

TEST_P(PackedMatrixTest, RowsAreTheDequantisedOnesBitForBit) {
  const PackedMatrix packed = Pack();
  std::vector<float> row(kIn);
  for (int64_t r = 0; r < kOut; ++r) {
    packed.ReadRow(r, row.data());
    EXPECT_EQ(std::memcmp(row.data(), &values_[static_cast<size_t>(Reversed(r) * kIn)], kIn * sizeof(float)),
              0)
        << r;
  }
}

TEST_P(PackedMatrixTest, ProductsEqualDoubleSumsForAnyNumberOfRows) {
  const PackedMatrix packed = Pack();
  const std::vector<float> x = RandomRows(40);
  for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 25, 40}) {
    const std::vector<float> y = Product(packed, x.data(), rows);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t o = 0; o < kOut; ++o) {
        double expected = 0, magnitude = 0;
        for (int64_t i = 0; i < kIn; ++i) {
          const double term = static_cast<double>(x[r * kIn + i]) * values_[Reversed(o) * kIn + i];
          expected += term;
          magnitude += std::abs(term);
        }
        ASSERT_NEAR(y[r * kOut + o], expected, 8e-5 * magnitude)
            << rows << " rows, row " << r << ", output " << o;
      }
    }
  }
}

TEST_P(PackedMatrixTest, ARowDoesNotDependOnTheOthersBitForBit) {
  const PackedMatrix packed = Pack();
  const std::vector<float> x = RandomRows(16), together = Product(packed, x.data(), 16);
  for (int64_t r = 0; r < 16; ++r) {
    const std::vector<float> alone = Product(packed, &x[static_cast<size_t>(r * kIn)], 1);
    EXPECT_EQ(std::memcmp(alone.data(), &together[static_cast<size_t>(r * kOut)], kOut * sizeof(float)), 0)
        << r;
  }
}

// Numbers of planes of one, several and overlapping sweeps.
TEST_P(PackedMatrixTest, TheMatrixUnitGivesTheVectorsResultsBitForBit) {
  if (!amx::Usable()) GTEST_SKIP() << "this processor has no matrix unit";
  const PackedMatrix packed = Pack();
  const std::vector<float> x = RandomRows(40);
  for (const int64_t rows : {2, 3, 5, 8, 9, 17, 25, 40}) {
    const std::vector<float> with = Product(packed, x.data(), rows);
    const amx::Disabled disabled;
    const std::vector<float> without = Product(packed, x.data(), rows);
    EXPECT_EQ(std::memcmp(with.data(), without.data(), with.size() * sizeof(float)), 0) << rows << " rows";
  }
}

// Blocks are quantised several at a time; how a row is cut into slices, of one block or seven, changes nothing.
TEST_P(PackedMatrixTest, SlicesOfARowGiveTheWholeRowsCodes) {
  const PackedMatrix packed = Pack();
  const std::vector<float> x = RandomRows(2);
  constexpr int64_t kBlocks = kIn / kActivationBlock;
  std::vector<std::vector<float>> products;
  for (const std::vector<int64_t>& cuts : {std::vector<int64_t>{0, kBlocks}, std::vector<int64_t>{0, 1, 8, kBlocks}}) {
    QuantizedRows quantized;
    quantized.Resize(kIn, std::vector<int64_t>{0, 0});
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      quantized.SetBlocks(0, cuts[i], cuts[i + 1], x.data());
      quantized.SetDifferences(1, cuts[i], cuts[i + 1], x.data() + kIn, x.data());
    }
    products.emplace_back(static_cast<size_t>(2 * kOut));
    packed.Multiply(quantized, 0, packed.num_tiles(), products.back().data(), kOut);
  }
  EXPECT_EQ(products[0], products[1]);
}

// Rows as differences to another: the product is that of the rows, within what one byte of the difference
// rounds.
TEST_P(PackedMatrixTest, DifferencesGiveTheRowsProductsWithinTheirOwnSize) {
  const PackedMatrix packed = Pack();
  const int64_t rows = 19;
  std::vector<float> x = RandomRows(rows);
  Rng rng(9);
  const std::vector<int64_t> references = {2, 1, 2, 2, 1, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1};
  for (int64_t r = 0; r < rows; ++r) {
    if (references[r] == r) continue;
    for (int64_t i = 0; i < kIn; ++i)
      x[r * kIn + i] = x[references[r] * kIn + i] * static_cast<float>(1 + 0.05 * rng.Normal());
  }
  QuantizedRows quantized;
  quantized.Resize(kIn, references);
  ASSERT_EQ(quantized.num_planes(), 2 * 3 + 16);
  for (int64_t r = 0; r < rows; ++r) {
    if (references[r] == r) {
      quantized.SetBlocks(r, 0, kIn / kActivationBlock, &x[r * kIn]);
    } else {
      quantized.SetDifferences(r, 0, kIn / kActivationBlock, &x[r * kIn], &x[references[r] * kIn]);
    }
  }
  std::vector<float> y(static_cast<size_t>(rows * kOut));
  packed.Multiply(quantized, 0, packed.num_tiles(), y.data(), kOut);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < kOut; ++o) {
      double expected = 0, magnitude = 0, rounding = 0;
      for (int64_t b = 0; b < kIn; b += kActivationBlock) {
        float largest = 0;
        for (int64_t i = b; i < b + kActivationBlock; ++i) {
          largest = std::max(largest, std::abs(x[r * kIn + i] - x[references[r] * kIn + i]));
        }
        for (int64_t i = b; i < b + kActivationBlock; ++i) {
          const double w = values_[Reversed(o) * kIn + i];
          expected += static_cast<double>(x[r * kIn + i]) * w;
          magnitude += std::abs(x[r * kIn + i] * w);
          rounding += largest / 254 * std::abs(w);
        }
      }
      ASSERT_NEAR(y[r * kOut + o], expected, 8e-5 * magnitude + rounding) << "row " << r << ", output " << o;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllTypes, PackedMatrixTest, testing::ValuesIn(kTypes),
                         [](const auto& info) { return GgmlTypeName(static_cast<uint32_t>(info.param)); });

TEST(PackedMatrix, ServesQuantisedTypesInWholeTilesOnly) {
  EXPECT_FALSE(PackedMatrix::Serves(GgmlType::kF16, 32, 32));
  EXPECT_FALSE(PackedMatrix::Serves(GgmlType::kQ8_0, 24, 32));
  EXPECT_FALSE(PackedMatrix::Serves(GgmlType::kQ8_0, 32, 48));
}

}  // namespace
}  // namespace elrea
