// Dequantisation against gguf-py's values (tools/oracle/model_dequantize.py), and rounding against torch.
#include "model/dequantize.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/rng.h"
#include "core/safetensors.h"

namespace elrea {
namespace {

constexpr GgmlType kAllTypes[] = {GgmlType::kF32,  GgmlType::kF16,  GgmlType::kBF16, GgmlType::kQ4_0,
                                  GgmlType::kQ4_1, GgmlType::kQ5_0, GgmlType::kQ5_1, GgmlType::kQ8_0,
                                  GgmlType::kQ4_K, GgmlType::kQ5_K, GgmlType::kQ6_K};

class DequantizeTest : public testing::TestWithParam<GgmlType> {};

// Equal bits, or both a NaN: numpy and the processor differ in NaN payloads only.
TEST_P(DequantizeTest, EqualsReferenceBitForBit) {
  const SafetensorsFile golden(ELREA_SOURCE_DIR "/tests/golden/model_dequantize.safetensors");
  const std::string name = GgmlTypeName(static_cast<uint32_t>(GetParam()));
  const TensorView& blocks = golden.Get(name + ".blocks");
  const TensorView& expected_view = golden.Get(name + ".values");
  std::vector<float> expected(static_cast<size_t>(expected_view.shape[0]));
  std::memcpy(expected.data(), expected_view.bytes.data(), expected_view.bytes.size());
  std::vector<float> actual(expected.size());
  Dequantize(GetParam(), blocks.bytes, actual);
  int num_nan = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i])) {
      ++num_nan;
      EXPECT_TRUE(std::isnan(actual[i])) << name << " element " << i;
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(actual[i]), std::bit_cast<uint32_t>(expected[i]))
        << name << " element " << i << ": " << actual[i] << " instead of " << expected[i];
  }
  EXPECT_LT(num_nan, std::ssize(expected) / 2) << "the golden blocks test too little";
  EXPECT_GT(num_nan, 0);
}

// The file's alignment is its writer's choice: scales may lie at odd addresses.
TEST_P(DequantizeTest, ReadsUnalignedBlocks) {
  const SafetensorsFile golden(ELREA_SOURCE_DIR "/tests/golden/model_dequantize.safetensors");
  const TensorView& blocks = golden.Get(GgmlTypeName(static_cast<uint32_t>(GetParam())) + ".blocks");
  std::vector<std::byte> shifted(blocks.bytes.size() + 1);
  std::memcpy(shifted.data() + 1, blocks.bytes.data(), blocks.bytes.size());
  std::vector<float> aligned_values(2048), shifted_values(2048);
  Dequantize(GetParam(), blocks.bytes, aligned_values);
  Dequantize(GetParam(), std::span(shifted).subspan(1), shifted_values);
  EXPECT_EQ(std::memcmp(aligned_values.data(), shifted_values.data(), 2048 * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(AllTypes, DequantizeTest, testing::ValuesIn(kAllTypes),
                         [](const auto& info) { return GgmlTypeName(static_cast<uint32_t>(info.param)); });

TEST(DequantizeErrors, NamesUnknownType) {
  std::vector<float> values(32);
  try {
    Dequantize(static_cast<GgmlType>(99), {}, values);
    FAIL() << "an unknown type was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    EXPECT_NE(error.message().find("99"), std::string::npos) << error.what();
  }
}

TEST(RoundToBFloat16, EqualsTorch) {
  std::vector<float> values = {0.0f,     -0.0f,     1.0f, 0x1.01p0f, 0x1.03p0f,
                               INFINITY, -INFINITY, NAN,  3.4e38f,   1e-40f};
  for (uint64_t i = 0; i < 4096; ++i) values.push_back(std::bit_cast<float>(uint32_t(RandomBits(3, 0, i))));
  std::vector<uint16_t> rounded(values.size());
  RoundToBFloat16(values, rounded);
  const torch::Tensor expected = torch::tensor(values).to(torch::kBFloat16);
  const auto* expected_bits = static_cast<const uint16_t*>(expected.data_ptr());
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) {
      EXPECT_EQ(rounded[i] & 0x7fff, 0x7fc0) << i;
    } else {
      ASSERT_EQ(rounded[i], expected_bits[i]) << values[i];
    }
  }
}

}  // namespace
}  // namespace elrea
