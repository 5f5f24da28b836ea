// Codes chosen on text, and the file they are kept in.
#include "model/calibrate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/expect_error.h"
#include "core/files.h"
#include "core/temp_dir.h"
#include "model/codes_file.h"
#include "model/testing.h"

namespace elrea {
namespace {

using torch::Tensor;

PackedBatch Text(int64_t vocab, int64_t rows, uint64_t seed, std::vector<std::vector<int32_t>>& kept) {
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<int32_t> row;
    for (int64_t i = 0; i < 20 + r % 5; ++i)
      row.push_back(static_cast<int32_t>((seed * 7919 + static_cast<uint64_t>(r * 131 + i * i * 17)) % static_cast<uint64_t>(vocab)));
    kept.push_back(row);
  }
  return PackRows({kept.begin(), kept.end()});
}

class CalibrateTest : public testing::TestWithParam<ModelConfig (*)()> {
 protected:
  CalibrateTest() {
    WriteHuggingFaceModel(MakeTinyModel(GetParam()(), 7), model());
    dense_ = LoadModelWeights(model(), torch::kFloat);
    text_ = Text(dense_.config.vocab, 40, 1, rows_);
  }
  fs::path model() const { return folder_ / "model"; }
  fs::path codes() const { return folder_ / "codes.safetensors"; }
  void Write(bool nested = false) const {
    WriteCodesFile(codes(), CalibrateNf4(Decoder(dense_), text_, nested).matrices,
                   {nested ? "nf4_double" : "nf4", dense_.fingerprint, {{"tokens", 5}}});
  }
  Tensor Logits(const ModelWeights& weights, const PackedBatch& batch) const {
    const Decoder decoder(weights);
    return decoder.Logits(decoder.Forward(batch, nullptr));
  }

  TempDir folder_;
  ModelWeights dense_;
  std::vector<std::vector<int32_t>> rows_;
  PackedBatch text_;
};

TEST_P(CalibrateTest, LayersAndLogitsChangeLessThanWithTheNearestCodes) {
  std::vector<std::vector<int32_t>> kept;
  const PackedBatch other = Text(dense_.config.vocab, 10, 3, kept);
  for (const bool nested : {false, true}) {
    const WeightStorage storage = nested ? WeightStorage::kNf4Double : WeightStorage::kNf4;
    const CalibratedCodes found = CalibrateNf4(Decoder(dense_), text_, nested);
    EXPECT_LT(found.output_error, 0.9 * found.nearest_error);
    EXPECT_GT(found.output_error, 0);
    Write(nested);
    const Tensor exact = Logits(dense_, text_);
    const auto error = [&](const ModelWeights& weights, const PackedBatch& batch) {
      return (Logits(weights, batch) - Logits(dense_, batch)).norm().item<double>();
    };
    const ModelWeights calibrated = LoadModelWeights(model(), torch::kFloat, storage, codes()),
                       nearest = LoadModelWeights(model(), torch::kFloat, storage);
    EXPECT_LT(error(calibrated, text_), error(nearest, text_));
    EXPECT_LT(error(calibrated, other), error(nearest, other));  // text that was not seen
    EXPECT_EQ(CountBytes(calibrated), CountBytes(nearest));
  }
}

// Each matrix is fitted to what the quantised layers below it make of the text: the inputs that the finished model has.
TEST_P(CalibrateTest, FitsLayersToTheQuantisedOnesBelow) {
  const CalibratedCodes first = CalibrateNf4(Decoder(dense_), text_, false);
  Write();
  const ModelWeights calibrated = LoadModelWeights(model(), torch::kFloat, WeightStorage::kNf4, codes());
  // Its own values, quantised again, have the same codes where only their inputs count: the last layer's down projection
  // of a model whose other matrices are calibrated already.
  ModelWeights mixed = dense_;
  for (size_t l = 0; l < mixed.layers.size(); ++l) {
    LayerWeights& layer = mixed.layers[l];
    const LayerWeights& coded = calibrated.layers[l];
    const auto dequantise = [](const CodedRows& rows, Tensor& tensor) {
      tensor = torch::empty({rows.rows, rows.codes->cols()});
      DequantizeInto(rows, tensor);
    };
    dequantise(coded.coded_q, layer.q);
    dequantise(coded.coded_k, layer.k);
    dequantise(coded.coded_v, layer.v);
    dequantise(coded.coded_o, layer.o);
    dequantise(coded.coded_gate, layer.gate);
    dequantise(coded.coded_up, layer.up);
    if (l + 1 < mixed.layers.size()) dequantise(coded.coded_down, layer.down);
  }
  const CalibratedCodes again = CalibrateNf4(Decoder(mixed), text_, false);
  const std::string last = "model.layers." + std::to_string(mixed.layers.size() - 1) + ".mlp.down_proj.weight";
  const auto values = [&](const CalibratedCodes& c) {
    Tensor t = torch::empty({c.matrices.at(last)->rows(), c.matrices.at(last)->cols()});
    c.matrices.at(last)->ReadInto(0, t);
    return t;
  };
  // Weights that are in codes already are quantised to themselves nearly everywhere, so both passes see the same inputs.
  EXPECT_GT(values(first).eq(values(again)).to(torch::kDouble).mean().item<double>(), 0.9);
}

TEST_P(CalibrateTest, TheFileBelongsToOneModelAndStorage) {
  Write();
  const ModelWeights with = LoadModelWeights(model(), torch::kFloat, WeightStorage::kNf4, codes());
  EXPECT_NE(with.fingerprint, LoadModelWeights(model(), torch::kFloat, WeightStorage::kNf4).fingerprint);
  EXPECT_EQ(CodesFile(codes()).origin().calibration, Json({{"tokens", 5}}));
  ExpectError(ErrorKind::kInvalidInput, {"holds codes of nf4", "model.quantize=nf4"},
              [&] { LoadModelWeights(model(), torch::kFloat, WeightStorage::kNf4Double, codes()); });
  WriteHuggingFaceModel(MakeTinyModel(GetParam()(), 8), folder_ / "other");
  ExpectError(ErrorKind::kInvalidInput, {"codes of another model", "other"},
              [&] { LoadModelWeights(folder_ / "other", torch::kFloat, WeightStorage::kNf4, codes()); });
  ExpectError(ErrorKind::kNotFound, {"missing.safetensors"},
              [&] { LoadModelWeights(model(), torch::kFloat, WeightStorage::kNf4, folder_ / "missing.safetensors"); });
}

TEST_P(CalibrateTest, AFileOfOtherThingsOrADamagedOneIsRefused) {
  const fs::path stored = model() / "model.safetensors";
  ExpectError(ErrorKind::kCorrupt, {"no file of calibrated codes", stored.string()},
              [&] { LoadModelWeights(model(), torch::kFloat, WeightStorage::kNf4, stored); });
  Write();
  std::string bytes = ReadFile(codes());
  bytes[bytes.size() - 9] ^= 4;
  WriteFileAtomically(codes(), bytes);
  ExpectError(ErrorKind::kCorrupt, {"codes.safetensors"},
              [&] { LoadModelWeights(model(), torch::kFloat, WeightStorage::kNf4, codes()); });
}

TEST_P(CalibrateTest, AMissingMatrixIsNamed) {
  auto matrices = CalibrateNf4(Decoder(dense_), text_, false).matrices;
  matrices.erase("model.layers.1.mlp.down_proj.weight");
  WriteCodesFile(codes(), matrices, {"nf4", dense_.fingerprint, {}});
  ExpectError(ErrorKind::kCorrupt, {"codes.safetensors", "model.layers.1.mlp.down_proj.weight is missing"},
              [&] { LoadModelWeights(model(), torch::kFloat, WeightStorage::kNf4, codes()); });
}

INSTANTIATE_TEST_SUITE_P(Families, CalibrateTest, testing::Values(&TinyLlamaConfig, &TinyGemma3Config, &TinyPhi3Config));

// A GGUF file's rows in its own order of rotation have their codes in Hugging Face's.
TEST(CalibrateGguf, GivesTheCodesOfTheSameModelAsADirectory) {
  const TempDir folder;
  const ModelWeights model = MakeTinyModel(TinyLlamaConfig(), 7);
  MakeGguf(model).Write(folder / "model.gguf");
  WriteHuggingFaceModel(model, folder / "model");
  std::vector<std::vector<int32_t>> rows;
  const PackedBatch text = Text(model.config.vocab, 20, 1, rows);
  Tensor logits[2];
  int i = 0;
  for (const char* name : {"model.gguf", "model"}) {
    const ModelWeights dense = LoadModelWeights(folder / name, torch::kFloat);
    const fs::path codes = folder / "codes.safetensors";
    WriteCodesFile(codes, CalibrateNf4(Decoder(dense), text, true).matrices, {"nf4_double", dense.fingerprint, {}});
    const Decoder decoder(LoadModelWeights(folder / name, torch::kFloat, WeightStorage::kNf4Double, codes));
    logits[i++] = decoder.Logits(decoder.Forward(text, nullptr));
  }
  EXPECT_TRUE(logits[0].equal(logits[1]));
}

}  // namespace
}  // namespace elrea
