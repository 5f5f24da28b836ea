// A backbone held in codes against the same backbone dequantised: logits, losses and gradients of the adapter, bit for
// bit; and what quantising while loading makes, against bitsandbytes.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "core/expect_error.h"
#include "core/safetensors.h"
#include "core/temp_dir.h"
#include "lora/lora_trainer.h"
#include "lora/testing.h"
#include "model/bitsandbytes_codes.h"
#include "model/decoder.h"
#include "model/quantize.h"
#include "model/quantize_checkpoint.h"
#include "model/tensor_table.h"
#include "model/testing.h"

namespace elrea {
namespace {

using torch::Tensor;

const fs::path kGolden = ELREA_SOURCE_DIR "/tests/golden";

int64_t NumCoded(ModelWeights& weights) {
  int64_t count = 0;
  for (const TensorSlot& slot : ListTensors(weights)) count += slot.codes != nullptr && *slot.codes ? 1 : 0;
  return count;
}

Tensor Dequantized(const CodedRows& coded, torch::Dtype dtype) {
  Tensor values = torch::empty({coded.rows, coded.codes->cols()}, torch::dtype(dtype));
  DequantizeInto(coded, values);
  return values;
}

// The same values as tensors.
ModelWeights Densified(const ModelWeights& coded, torch::Dtype dtype) {
  ModelWeights dense = coded;
  for (const TensorSlot& slot : ListTensors(dense)) {
    if (slot.codes == nullptr || !*slot.codes) continue;
    *slot.tensor = Dequantized(*slot.codes, dtype);
    *slot.codes = {};
  }
  return dense;
}

struct Passes {
  Tensor few, many, gradient, nll;
};

Passes RunPasses(const ModelWeights& weights) {
  const Decoder decoder(weights);
  const AdapterConfig config{.rank = 4, .alpha = 8};
  const AdapterLayout layout(weights.config, config);
  const LoraWeights lora(layout, MakeRandomAdapter(weights.config, config, 11), decoder.dtype(), torch::kCPU);
  std::vector<std::vector<int32_t>> rows;
  for (const int64_t length : {13, 1, 9, 24}) rows.push_back(RandomTokens(length, weights.config.vocab, static_cast<uint64_t>(length)));
  const PackedBatch all = PackRows({rows.begin(), rows.end()}), one = PackRows({rows.begin(), rows.begin() + 1});
  Passes passes;
  LoraTrainer trainer(lora);
  passes.few = decoder.Logits(decoder.Forward(one, &trainer));
  passes.many = decoder.Logits(decoder.Forward(all, nullptr));
  LoraTrainer training(lora);
  ForwardTape tape;
  const Tensor residual = decoder.Forward(all, &training, &tape);
  const LossTargets targets{torch::arange(4, 12), torch::arange(8), torch::ones({8})};
  Tensor grad_residual;
  passes.nll = decoder.LossAndGradient(residual, targets, grad_residual);
  decoder.Backward(all, tape, grad_residual, training);
  passes.gradient = training.grad().clone();
  return passes;
}

void ExpectEqualPasses(const ModelWeights& coded, torch::Dtype dtype) {
  const Passes ours = RunPasses(coded), twin = RunPasses(Densified(coded, dtype));
  EXPECT_TRUE(ours.few.equal(twin.few));
  EXPECT_TRUE(ours.many.equal(twin.many));
  EXPECT_TRUE(ours.nll.equal(twin.nll));
  EXPECT_TRUE(ours.gradient.equal(twin.gradient));
  EXPECT_GT(ours.gradient.norm().item<double>(), 0);
}

using Case = std::tuple<ModelConfig (*)(), WeightStorage, torch::Dtype>;
class QuantizedBackbone : public testing::TestWithParam<Case> {};

TEST_P(QuantizedBackbone, ComputesWhatItsDequantisedSelfDoes) {
  const auto& [config, storage, dtype] = GetParam();
  const TempDir temp;
  WriteHuggingFaceModel(MakeTinyModel(config(), 7), temp.path());
  ModelWeights coded = LoadModelWeights(temp.path(), dtype, storage);
  EXPECT_EQ(NumCoded(coded), coded.config.layers * 7);
  ExpectEqualPasses(coded, dtype);
  const ModelWeights plain = LoadModelWeights(temp.path(), dtype);
  EXPECT_NE(coded.fingerprint, plain.fingerprint);
  EXPECT_EQ(CountParameters(coded), CountParameters(plain));
  EXPECT_LT(CountBytes(coded), CountBytes(plain));
  const Tensor exact = RunPasses(plain).many, ours = RunPasses(coded).many;
  EXPECT_LT(((ours - exact).norm() / exact.norm()).item<double>(), storage == WeightStorage::kInt8 ? 0.03 : 0.3);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, QuantizedBackbone,
    testing::Combine(testing::Values(&TinyLlamaConfig, &TinyGemma3Config, &TinyPhi3Config),
                     testing::Values(WeightStorage::kNf4, WeightStorage::kNf4Double, WeightStorage::kInt8),
                     testing::Values(torch::kFloat, torch::kBFloat16)));

// A GGUF file whose matrices are of many types, one of them not quantised.
TEST(QuantizedBackboneGguf, KeptBlocksComputeWhatTheDequantisedDo) {
  for (const torch::Dtype dtype : {torch::kFloat, torch::kBFloat16}) {
    const TempDir temp;
    constexpr GgmlType kTypes[] = {GgmlType::kQ4_1, GgmlType::kQ8_0, GgmlType::kQ5_0, GgmlType::kQ5_1, GgmlType::kQ4_0};
    ModelWeights model = MakeTinyModel(TinyLlamaConfig(), 7);
    GgufBuilder gguf = MakeGguf(model);
    uint64_t seed = 0;
    for (const auto& [slot, tensor] : StoredTensors(ListTensors(model))) {
      if (slot.is_vector() || slot.gguf_name == "blk.1.attn_k.weight") continue;
      const GgmlType type = kTypes[seed % 5];
      gguf.AddTensor(slot.gguf_name, type, tensor.sizes().vec(), RandomBlocks(type, tensor.numel(), ++seed, 0.3));
    }
    gguf.Write(temp / "model.gguf");
    ModelWeights kept = LoadModelWeights(temp / "model.gguf", dtype, WeightStorage::kKeep);
    const ModelWeights dense = LoadModelWeights(temp / "model.gguf", dtype);
    EXPECT_EQ(NumCoded(kept), 2 * 7 - 1);
    EXPECT_EQ(kept.fingerprint, dense.fingerprint);
    const Passes ours = RunPasses(kept), theirs = RunPasses(dense);
    EXPECT_TRUE(ours.few.equal(theirs.few));
    EXPECT_TRUE(ours.many.equal(theirs.many));
    EXPECT_TRUE(ours.gradient.equal(theirs.gradient));
  }
}

TEST(QuantizedBackboneBitsAndBytes, ACheckpointOfItsIsKeptInItsCodes) {
  for (const char* kind : {"nf4", "fp4", "int8"}) {
    const fs::path folder = kGolden / (std::string("bitsandbytes_") + kind);
    ModelWeights kept = LoadModelWeights(folder, torch::kFloat, WeightStorage::kKeep);
    const ModelWeights dense = LoadModelWeights(folder, torch::kFloat);
    EXPECT_EQ(NumCoded(kept), 2 * 7) << kind;
    EXPECT_EQ(kept.fingerprint, dense.fingerprint);
    const Passes ours = RunPasses(kept), theirs = RunPasses(dense);
    EXPECT_TRUE(ours.many.equal(theirs.many)) << kind;
    EXPECT_TRUE(ours.gradient.equal(theirs.gradient)) << kind;
    ExpectError(ErrorKind::kInvalidInput, {"quantised already", "keep"},
                [&] { LoadModelWeights(folder, torch::kFloat, WeightStorage::kNf4); });
  }
}

// The golden files are what bitsandbytes makes of family_qwen2 (tools/oracle/bitsandbytes_tiny.py).
TEST(QuantizedBackboneBitsAndBytes, QuantisingWhileLoadingMakesItsBytes) {
  ModelWeights nf4 = LoadModelWeights(kGolden / "family_qwen2", torch::kFloat, WeightStorage::kNf4Double);
  ModelWeights int8 = LoadModelWeights(kGolden / "family_qwen2", torch::kFloat, WeightStorage::kInt8);
  const SafetensorsFile nf4_file(kGolden / "bitsandbytes_nf4/model.safetensors"),
      int8_file(kGolden / "bitsandbytes_int8/model.safetensors");
  const auto expect_bytes = [](const Tensor& ours, const SafetensorsFile& file, const std::string& name) {
    const auto theirs = file.Get(name).bytes;
    ASSERT_EQ(ours.nbytes(), theirs.size()) << name;
    EXPECT_EQ(std::memcmp(ours.data_ptr(), theirs.data(), theirs.size()), 0) << name;
  };
  for (const TensorSlot& slot : ListTensors(nf4)) {
    if (slot.codes == nullptr) continue;
    const auto& parts = dynamic_cast<const FourBitCodes&>(*slot.codes->codes).parts();
    expect_bytes(parts.codes, nf4_file, slot.hf_name);
    // Its processor kernel finds codes by a coarse table first and takes 2e-5 for what is next to 0: a neighbour.
    const auto theirs = nf4_file.Get(slot.hf_name + ".absmax").bytes;
    ASSERT_EQ(static_cast<size_t>(parts.absmax.numel()), theirs.size());
    for (size_t i = 0; i < theirs.size(); ++i) {
      const auto* map = parts.nested_map.data_ptr<float>();
      const uint8_t code = parts.absmax.data_ptr<uint8_t>()[i], other = static_cast<uint8_t>(theirs[i]);
      EXPECT_LE(std::abs(map[code] - map[other]), 2.2e-5) << slot.hf_name << " block " << i;
    }
    expect_bytes(parts.nested_absmax, nf4_file, slot.hf_name + ".nested_absmax");
    expect_bytes(parts.nested_map, nf4_file, slot.hf_name + ".nested_quant_map");
  }
  for (const TensorSlot& slot : ListTensors(int8)) {
    if (slot.codes == nullptr) continue;
    const auto& codes = dynamic_cast<const EightBitCodes&>(*slot.codes->codes);
    expect_bytes(codes.codes(), int8_file, slot.hf_name);
    expect_bytes(codes.scales(), int8_file, slot.hf_name.substr(0, slot.hf_name.size() - 6) + "SCB");
  }
}

TEST(QuantizeCheckpointTest, IsReadAsWhatLoadingQuantises) {
  for (const int num_shards : {1, 2}) {
    for (const WeightStorage storage : {WeightStorage::kNf4, WeightStorage::kNf4Double, WeightStorage::kInt8}) {
      const TempDir temp;
      WriteHuggingFaceModel(MakeTinyModel(TinyPhi3Config(), 7), temp / "dense", num_shards);
      const ModelWeights in_memory = QuantizeCheckpoint(temp / "dense", temp / "quantised", storage);
      ModelWeights written = LoadModelWeights(temp / "quantised", torch::kFloat, WeightStorage::kKeep);
      EXPECT_EQ(NumCoded(written), 2 * 7);
      const Tensor expected = RunPasses(LoadModelWeights(temp / "dense", torch::kFloat, storage)).many;
      EXPECT_TRUE(RunPasses(written).many.equal(expected));
      EXPECT_TRUE(RunPasses(in_memory).many.equal(expected));
      ExpectError(ErrorKind::kInvalidInput, {"quantised already"},
                  [&] { QuantizeCheckpoint(temp / "quantised", temp / "again", storage); });
      EXPECT_FALSE(fs::exists(temp / "again"));
    }
  }
}

TEST(QuantizeCheckpointTest, RefusesItsOwnSourceAndGguf) {
  const TempDir temp;
  WriteHuggingFaceModel(MakeTinyModel(TinyLlamaConfig(), 7), temp / "dense");
  ExpectError(ErrorKind::kInvalidInput, {"the model itself"},
              [&] { QuantizeCheckpoint(temp / "dense", temp / "dense", WeightStorage::kNf4); });
  ExpectError(ErrorKind::kInvalidInput, {"no Hugging Face directory"},
              [&] { QuantizeCheckpoint(temp / "model.gguf", temp / "out", WeightStorage::kNf4); });
}

TEST(Quantize, RefusesWhatIsNotFinite) {
  const Tensor values = torch::ones({4, 64});
  values[1][3] = std::numeric_limits<float>::infinity();
  ExpectError(ErrorKind::kCorrupt, {"blk.0", "not finite"},
              [&] { QuantizeFor(WeightStorage::kNf4, values, "blk.0"); });
}

// Rows whose blocks of 64 begin and end inside them, an odd number of elements, zeros.
TEST(Quantize, AnyShape) {
  for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{{3, 7}, {5, 100}, {1, 1}, {4, 64}}) {
    const Tensor values = torch::randn({rows, cols});
    values[0][0] = 0;
    const auto codes = QuantizeNf4(values, /*nested=*/false);
    const Tensor back = Dequantized({codes, 0, rows}, torch::kFloat);
    // Half the widest gap of the map, 0.3 of the largest magnitude.
    EXPECT_LE((back - values).abs().max().item<double>(), 0.16 * values.abs().max().item<double>());
    for (int64_t row = 0; row < rows; ++row) {  // a row alone is a row of all
      std::vector<float> alone(static_cast<size_t>(cols));
      codes->ReadRows(row, row + 1, alone.data());
      EXPECT_TRUE(torch::tensor(alone).equal(back[row]));
    }
  }
  EXPECT_EQ(Dequantized({QuantizeNf4(torch::zeros({2, 64}), true), 0, 2}, torch::kFloat).abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace elrea
