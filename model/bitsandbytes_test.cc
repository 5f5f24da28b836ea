// Checkpoints that bitsandbytes quantised, against what it dequantises them to (tools/oracle/bitsandbytes_tiny.py), and
// damaged ones.
#include "model/bitsandbytes.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/expect_error.h"
#include "core/temp_dir.h"
#include "model/tensor_table.h"
#include "model/weights.h"

namespace elrea {
namespace {

const fs::path kGolden = ELREA_SOURCE_DIR "/tests/golden";

class BitsAndBytes : public testing::TestWithParam<const char*> {
 protected:
  fs::path folder_ = kGolden / (std::string("bitsandbytes_") + GetParam());
};

TEST_P(BitsAndBytes, EveryMatrixIsWhatBitsAndBytesMakesOfIt) {
  ModelWeights weights = LoadModelWeights(folder_, torch::kFloat);
  const SafetensorsFile expected(folder_ / "dequantised.safetensors");
  int num_compared = 0;
  for (const TensorSlot& slot : ListTensors(weights)) {
    if (!expected.Contains(slot.hf_name)) continue;
    const TensorView& view = expected.Get(slot.hf_name);
    const auto theirs = torch::from_blob(const_cast<std::byte*>(view.bytes.data()), view.shape, torch::kFloat);
    if (std::string(GetParam()) == "int8") {  // its kernel multiplies in another order
      EXPECT_TRUE(at::allclose(*slot.tensor, theirs, 1e-6, 0)) << slot.hf_name;
    } else {
      EXPECT_TRUE(slot.tensor->equal(theirs)) << slot.hf_name;
    }
    ++num_compared;
  }
  EXPECT_EQ(num_compared, 2 * 7);
  // Not far from the matrices they were made of.
  const ModelWeights plain = LoadModelWeights(kGolden / "family_qwen2", torch::kFloat);
  const torch::Tensor& original = plain.layers[1].down;
  const double error = ((weights.layers[1].down - original).norm() / original.norm()).item<double>();
  EXPECT_LT(error, std::string(GetParam()) == "int8" ? 0.01 : 0.2);
  EXPECT_GT(error, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, BitsAndBytes, testing::Values("nf4", "fp4", "int8"),
                         [](const auto& info) { return std::string(info.param); });

// A copy of a golden checkpoint with its tensors changed.
void ExpectDamage(const char* kind, ErrorKind error, const std::string& culprit,
                  const std::function<void(std::map<std::string, TensorView>&)>& change) {
  const TempDir temp;
  const fs::path source = kGolden / (std::string("bitsandbytes_") + kind);
  fs::copy_file(source / "config.json", temp / "config.json");
  const SafetensorsFile file(source / "model.safetensors");
  std::map<std::string, TensorView> tensors = file.tensors();
  change(tensors);
  std::vector<NamedTensor> named;
  for (const auto& [name, view] : tensors) named.push_back({name, view.dtype, view.shape, view.bytes});
  WriteSafetensors(temp / "model.safetensors", named);
  ExpectError(error, {culprit}, [&] { LoadModelWeights(temp.path(), torch::kFloat); });
}

TEST(BitsAndBytesDamage, NamesTheTensor) {
  const std::string up = "model.layers.0.mlp.up_proj.", weight = up + "weight";
  ExpectDamage("nf4", ErrorKind::kCorrupt, weight + ".nested_absmax is missing",
               [&](auto& t) { t.erase(weight + ".nested_absmax"); });
  ExpectDamage("nf4", ErrorKind::kCorrupt, weight + ".absmax has 23 elements", [&](auto& t) {
    TensorView& view = t.at(weight + ".absmax");
    view.shape = {23};
    view.bytes = view.bytes.first(23);
  });
  ExpectDamage("fp4", ErrorKind::kCorrupt, "quant_state", [&](auto& t) {
    TensorView& view = t.at(weight + ".quant_state.bitsandbytes__fp4");
    view.shape = {40};
    view.bytes = view.bytes.first(40);
  });
  ExpectDamage("int8", ErrorKind::kInvalidInput, "weight", [&](auto& t) { t.erase(up + "SCB"); });
  static const std::string hostile = R"({"shape": [4611686018427387904, 16], "blocksize": 64, "quant_type": "fp4"})";
  ExpectDamage("fp4", ErrorKind::kCorrupt, "describes no matrix", [&](auto& t) {
    TensorView& view = t.at(weight + ".quant_state.bitsandbytes__fp4");
    view.shape = {static_cast<int64_t>(hostile.size())};
    view.bytes = std::as_bytes(std::span(hostile.data(), hostile.size()));
  });
}

}  // namespace
}  // namespace elrea
