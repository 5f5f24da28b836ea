// Backbones in codes on another device: the values that the CPU reads from them, bit for bit, and in passes the losses
// and gradients of the same values as tensors.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cli/backbone.h"
#include "core/temp_dir.h"
#include "lora/lora_trainer.h"
#include "lora/testing.h"
#include "model/bitsandbytes_codes.h"
#include "model/ggml_codes.h"
#include "model/part_codes.h"
#include "model/quantize.h"
#include "model/tensor_table.h"
#include "model/testing.h"
#include "model/testing_gguf.h"
#include "tests/guarded_device.h"

namespace elrea {
namespace {

using torch::Tensor;

class DeviceQuantizedTest : public testing::TestWithParam<torch::Device> {};

Tensor Values(const MatrixCodes& codes, int64_t first, int64_t rows, torch::Dtype dtype) {
  Tensor values = torch::empty({rows, codes.cols()}, torch::dtype(dtype).device(codes.device()));
  codes.ReadInto(first, values);
  return values.cpu();
}

void ExpectSameValues(const MatrixCodes& codes, torch::Device device, const std::string& what) {
  const auto there = codes.To(device);
  ASSERT_EQ(there->device(), device);
  ASSERT_EQ(there->cols(), codes.cols());
  for (const torch::Dtype dtype : {torch::kFloat, torch::kBFloat16}) {
    for (int64_t first = 0; first < codes.rows(); ++first) {
      for (int64_t rows = 1; rows <= codes.rows() - first; rows += 2)
        EXPECT_TRUE(Values(*there, first, rows, dtype).equal(Values(codes, first, rows, dtype)))
            << what << ", rows " << first << " to " << first + rows;
    }
  }
}

TEST_P(DeviceQuantizedTest, EveryGgufTypeHasTheValuesOfTheCpu) {
  for (const GgmlType type : {GgmlType::kQ4_0, GgmlType::kQ4_1, GgmlType::kQ5_0, GgmlType::kQ5_1, GgmlType::kQ8_0,
                              GgmlType::kQ4_K, GgmlType::kQ5_K, GgmlType::kQ6_K}) {
    constexpr int64_t kRows = 5, kCols = 512;
    const std::string blocks = RandomBlocks(type, kRows * kCols, 3, 0.4);
    const Tensor bytes = torch::empty({kRows, static_cast<int64_t>(blocks.size()) / kRows}, torch::kByte);
    std::copy(blocks.begin(), blocks.end(), bytes.data_ptr<uint8_t>());
    ExpectSameValues(GgmlCodes(type, bytes, kCols), GetParam(), GgmlTypeName(static_cast<uint32_t>(type)));
  }
}

// Blocks that begin and end inside of rows, an odd number of weights, more scales than one block of them.
TEST_P(DeviceQuantizedTest, EveryBitsAndBytesFormatHasTheValuesOfTheCpu) {
  for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{{3, 7}, {5, 100}, {1, 1}, {4, 64}, {9, 4000}}) {
    const Tensor values = torch::randn({rows, cols}) * torch::rand({rows, 1});
    const std::string shape = " of " + std::to_string(rows) + " x " + std::to_string(cols);
    ExpectSameValues(*QuantizeNf4(values, /*nested=*/false), GetParam(), "nf4" + shape);
    ExpectSameValues(*QuantizeNf4(values, /*nested=*/true), GetParam(), "nf4_double" + shape);
    ExpectSameValues(*QuantizeInt8(values), GetParam(), "int8" + shape);
  }
}

// Its files may have blocks of any size.
TEST_P(DeviceQuantizedTest, BlocksOfOddSizeAndWiderThanTheMatrix) {
  for (const int64_t block : {3, 1000}) {
    FourBitParts parts = QuantizeNf4(torch::randn({5, 9}), false)->parts();
    parts.block = block;
    parts.absmax = torch::rand({(45 + block - 1) / block});
    ExpectSameValues(FourBitCodes(5, 9, parts), GetParam(), "blocks of " + std::to_string(block));
  }
}

// More weights than are read at once.
TEST_P(DeviceQuantizedTest, AMatrixReadInSeveralTurns) {
  const Tensor values = torch::randn({3000, 64}).repeat({1, 128});
  const auto codes = QuantizeNf4(values, true);
  EXPECT_TRUE(Values(*codes->To(GetParam()), 1, 2999, torch::kBFloat16).equal(Values(*codes, 1, 2999, torch::kBFloat16)));
}

struct Passes {
  Tensor logits, nll, gradient;
};

Passes RunPasses(const ModelWeights& weights) {
  const Decoder decoder(weights);
  const AdapterConfig config{.rank = 4, .alpha = 8};
  const AdapterLayout layout(weights.config, config);
  const LoraWeights lora(layout, MakeRandomAdapter(weights.config, config, 11), decoder.dtype(), decoder.device());
  LoraTrainer trainer(lora);
  const std::vector<int32_t> tokens = RandomTokens(24, weights.config.vocab, 5);
  const PackedBatch batch = PackRows({std::span<const int32_t>(tokens)});
  ForwardTape tape;
  const Tensor residual = decoder.Forward(batch, &trainer, &tape);
  Tensor grad_residual;
  const LossTargets targets{torch::arange(4, 12), torch::arange(8), torch::ones({8})};
  const Tensor nll = decoder.LossAndGradient(residual, targets, grad_residual);
  decoder.Backward(batch, tape, grad_residual, trainer);
  return {decoder.Logits(residual).cpu(), nll.cpu(), trainer.grad().cpu()};
}

// The same values as tensors on the same device.
ModelWeights Densified(const ModelWeights& coded, torch::Dtype dtype) {
  ModelWeights dense = coded;
  for (const TensorSlot& slot : ListTensors(dense)) {
    if (slot.codes == nullptr || !*slot.codes) continue;
    *slot.tensor = torch::empty(slot.shape, torch::dtype(dtype).device(slot.codes->codes->device()));
    DequantizeInto(*slot.codes, *slot.tensor);
    *slot.codes = {};
  }
  return dense;
}

TEST_P(DeviceQuantizedTest, PassesComputeWhatTheDequantisedSelfDoes) {
  for (ModelConfig (*config)() : {&TinyGemma3Config, &TinyPhi3Config}) {  // the second: slots that share their codes
    const TempDir temp;
    WriteHuggingFaceModel(MakeTinyModel(config(), 7), temp.path());
    for (const WeightStorage storage : {WeightStorage::kNf4Double, WeightStorage::kInt8}) {
      ModelWeights coded = LoadModelWeights(temp.path(), torch::kFloat, storage);
      const int64_t bytes = CountBytes(coded);
      MoveWeights(coded, GetParam());
      EXPECT_LE(CountBytes(coded), bytes + coded.config.layers * 7 * 2048);  // the same, and each matrix's map
      const Passes ours = RunPasses(coded), twin = RunPasses(Densified(coded, torch::kFloat));
      EXPECT_TRUE(ours.logits.equal(twin.logits));
      EXPECT_TRUE(ours.nll.equal(twin.nll));
      EXPECT_TRUE(ours.gradient.equal(twin.gradient));
      EXPECT_GT(ours.gradient.norm().item<double>(), 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceQuantizedTest, testing::ValuesIn(OtherDevices()), NameOfDevice);

}  // namespace
}  // namespace elrea
