// Both loaders: against each other, round trips, and damaged checkpoints. The packaged models' own tensors
// are compared with gguf-py by tools/oracle/model_tensors.py.
#include "model/weights.h"

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>

#include "core/damage.h"
#include "core/error.h"
#include "core/json.h"
#include "core/rng.h"
#include "core/safetensors.h"
#include "model/decoder.h"
#include "model/tensor_table.h"
#include "model/testing.h"

namespace elrea {
namespace {

const fs::path kGolden = ELREA_SOURCE_DIR "/tests/golden";

class WeightsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "elrea_weights_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  fs::path Path(const std::string& name) const { return directory_ / name; }

  fs::path directory_;
};

void ExpectSameTensors(const ModelWeights& a, const ModelWeights& b) {
  ModelWeights left = a, right = b;
  const auto left_slots = ListTensors(left), right_slots = ListTensors(right);
  ASSERT_EQ(left_slots.size(), right_slots.size());
  for (size_t i = 0; i < left_slots.size(); ++i) {
    EXPECT_EQ(left_slots[i].hf_name, right_slots[i].hf_name);
    EXPECT_EQ(left_slots[i].tensor->scalar_type(), right_slots[i].tensor->scalar_type())
        << left_slots[i].hf_name;
    EXPECT_TRUE(torch::equal(*left_slots[i].tensor, *right_slots[i].tensor)) << left_slots[i].hf_name;
  }
}

// Loading must fail with this kind and name the culprit.
void ExpectLoadError(const fs::path& model, ErrorKind kind, const std::string& culprit) {
  try {
    LoadModelWeights(model, torch::kFloat);
    ADD_FAILURE() << "loaded in spite of " << culprit;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(error.message().find(culprit), std::string::npos) << error.what();
    EXPECT_NE(error.message().find(model.filename().string()), std::string::npos) << error.what();
  }
}

std::vector<ModelConfig> TinyConfigs() { return {TinyLlamaConfig(), TinyGemma3Config()}; }

// The same checkpoint as transformers saves it and as gguf-py writes it.
TEST(Weights, GgufEqualsHuggingFace) {
  for (const char* name : {"model_tiny_llama", "model_tiny_gemma3"}) {
    SCOPED_TRACE(name);
    for (const torch::Dtype dtype : {torch::kFloat, torch::kBFloat16}) {
      const ModelWeights hf = LoadModelWeights(kGolden / name, dtype);
      const ModelWeights gguf = LoadModelWeights(kGolden / name / "model.gguf", dtype);
      ExpectSameTensors(hf, gguf);
      EXPECT_EQ(hf.embedding.scalar_type(), dtype);
      EXPECT_EQ(hf.layers[0].attn_norm.scalar_type(), torch::kFloat);
      EXPECT_EQ(hf.config.tied_embeddings, hf.head.data_ptr() == hf.embedding.data_ptr());
      EXPECT_EQ(hf.origin, (kGolden / name).string());
    }
  }
}

TEST(Weights, NormsAreReadyToMultiply) {
  const ModelWeights gemma = LoadModelWeights(kGolden / "model_tiny_gemma3", torch::kFloat);
  const SafetensorsFile file(kGolden / "model_tiny_gemma3/model.safetensors");
  const TensorView& stored = file.Get("model.norm.weight");
  ASSERT_EQ(stored.dtype, DType::kBF16);
  const auto raw = torch::from_blob(const_cast<std::byte*>(stored.bytes.data()), {32}, torch::kBFloat16);
  EXPECT_TRUE(torch::equal(gemma.final_norm, raw.to(torch::kFloat) + 1));
}

TEST_F(WeightsTest, TinyModelsSurviveBothFormats) {
  for (const ModelConfig& config : TinyConfigs()) {
    SCOPED_TRACE(config.family);
    const ModelWeights model = MakeTinyModel(config, 5);
    const fs::path gguf = Path(config.family + ".gguf"), hf = Path(config.family);
    MakeGguf(model).Write(gguf);
    ExpectSameTensors(LoadModelWeights(gguf, torch::kFloat), model);
    WriteHuggingFaceModel(model, hf);
    const ModelWeights back = LoadModelWeights(hf, torch::kFloat);
    EXPECT_TRUE(torch::equal(back.layers[1].q, model.layers[1].q));
    EXPECT_TRUE(torch::allclose(back.layers[1].ffn_norm, model.layers[1].ffn_norm, 0, 1e-6));
  }
}

TEST_F(WeightsTest, ShardsEqualOneFile) {
  const ModelWeights model = MakeTinyModel(TinyGemma3Config(), 5, torch::kBFloat16);
  WriteHuggingFaceModel(model, Path("one"));
  WriteHuggingFaceModel(model, Path("three"), 3);
  const ModelWeights one = LoadModelWeights(Path("one"), torch::kBFloat16);
  const ModelWeights three = LoadModelWeights(Path("three"), torch::kBFloat16);
  ExpectSameTensors(one, three);
  EXPECT_EQ(one.fingerprint, three.fingerprint);
}

// Headers of odd length put every tensor at an odd address.
TEST_F(WeightsTest, ReadsUnalignedTensors) {
  const ModelWeights model = MakeTinyModel(TinyLlamaConfig(), 5, torch::kBFloat16);
  WriteHuggingFaceModel(model, Path("hf"));
  std::string file = ReadFile(Path("hf/model.safetensors"));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  file.insert(sizeof(header_bytes) + header_bytes++, " ");
  std::memcpy(file.data(), &header_bytes, sizeof(header_bytes));
  std::ofstream(Path("hf/model.safetensors"), std::ios::binary) << file;
  ExpectSameTensors(LoadModelWeights(Path("hf"), torch::kBFloat16), model);
}

TEST_F(WeightsTest, FingerprintFollowsTheBytes) {
  ModelWeights model = MakeTinyModel(TinyLlamaConfig(), 5);
  MakeGguf(model).Write(Path("a.gguf"));
  MakeGguf(model).SetInt("general.file_type", 0).Write(Path("b.gguf"));
  model.layers[1].down[3][4] += 1e-3;
  MakeGguf(model).Write(Path("c.gguf"));
  const std::string a = LoadModelWeights(Path("a.gguf"), torch::kFloat).fingerprint;
  EXPECT_EQ(a.size(), 16u);
  EXPECT_EQ(LoadModelWeights(Path("a.gguf"), torch::kBFloat16).fingerprint, a);
  EXPECT_EQ(LoadModelWeights(Path("b.gguf"), torch::kFloat).fingerprint, a);
  EXPECT_NE(LoadModelWeights(Path("c.gguf"), torch::kFloat).fingerprint, a);
}

TEST_F(WeightsTest, DumpHoldsEveryTensorAsInMemory) {
  for (const ModelConfig& config : TinyConfigs()) {
    ModelWeights model = MakeTinyModel(config, 9, torch::kBFloat16);
    DumpWeights(model, Path("dump.safetensors"));
    const SafetensorsFile dump(Path("dump.safetensors"));
    const auto slots = ListTensors(model);
    EXPECT_EQ(dump.tensors().size(), slots.size());
    int64_t count = 0;
    for (const TensorSlot& slot : slots) {
      const TensorView& view = dump.Get(slot.hf_name);
      EXPECT_EQ(view.shape, slot.shape);
      EXPECT_EQ(view.dtype, slot.is_vector() ? DType::kF32 : DType::kBF16) << slot.hf_name;
      EXPECT_EQ(std::memcmp(view.bytes.data(), slot.tensor->data_ptr(), view.bytes.size()), 0)
          << slot.hf_name;
      count += slot.tensor->numel();
    }
    EXPECT_EQ(CountParameters(model), count);
    EXPECT_EQ(dump.metadata().at("elrea.config"), JsonLine(config.ToJson()));
  }
}

TEST(TinyModel, IsDeterministicAndSeeded) {
  const ModelWeights a = MakeTinyModel(TinyGemma3Config(), 1), b = MakeTinyModel(TinyGemma3Config(), 1);
  ExpectSameTensors(a, b);
  EXPECT_EQ(a.fingerprint, b.fingerprint);
  EXPECT_FALSE(torch::equal(a.embedding, MakeTinyModel(TinyGemma3Config(), 2).embedding));
  EXPECT_FALSE(torch::equal(a.layers[0].gate, a.layers[0].up));
  EXPECT_TRUE(a.layers[0].q_norm.defined() && a.layers[0].attn_post_norm.defined());
}

TEST_F(WeightsTest, TruncatedGgufIsCorrupt) {
  MakeGguf(MakeTinyModel(TinyLlamaConfig(), 5)).Write(Path("m.gguf"));
  const auto size = fs::file_size(Path("m.gguf"));
  for (const uint64_t kept : {size - 100, size / 2, uint64_t{200}, uint64_t{10}, uint64_t{0}}) {
    fs::resize_file(Path("m.gguf"), kept);
    ExpectLoadError(Path("m.gguf"), ErrorKind::kCorrupt, "m.gguf");
  }
}

TEST_F(WeightsTest, DamagedGgufNamesTheTensor) {
  const ModelWeights model = MakeTinyModel(TinyLlamaConfig(), 5);
  const fs::path path = Path("m.gguf");
  const std::string floats(32 * 32 * 4, '\0');
  MakeGguf(model).Remove("blk.1.attn_q.weight").Write(path);
  ExpectLoadError(path, ErrorKind::kCorrupt, "blk.1.attn_q.weight [32, 32] is missing");
  MakeGguf(model).AddTensor("blk.0.attn_q.weight", GgmlType::kF32, {16, 64}, floats).Write(path);
  ExpectLoadError(path, ErrorKind::kCorrupt, "blk.0.attn_q.weight has shape [16, 64], expected [32, 32]");
  MakeGguf(model).AddTensor("blk.0.attn_sinks.weight", GgmlType::kF32, {32}, floats.substr(0, 128)).Write(path);
  ExpectLoadError(path, ErrorKind::kInvalidInput, "blk.0.attn_sinks.weight");
  MakeGguf(model).AddTensor("blk.0.attn_q.bias", GgmlType::kF32, {32}, floats.substr(0, 128)).Write(path);
  ExpectLoadError(path, ErrorKind::kCorrupt, "blk.0.attn_k.bias [16] is missing");
  MakeGguf(model).AddTensor("rope_freqs.weight", GgmlType::kF32, {32}, floats.substr(0, 128)).Write(path);
  ExpectLoadError(path, ErrorKind::kInvalidInput, "32 rope factors");
  MakeGguf(model).AddTensor("rope_freqs.weight", GgmlType::kF32, {4}, floats.substr(0, 16)).Write(path);
  ExpectLoadError(path, ErrorKind::kInvalidInput, "rope factor is 0");
  MakeGguf(model).AddTensor("blk.0.attn_q.weight", static_cast<GgmlType>(99), {32, 32}, floats).Write(path);
  ExpectLoadError(path, ErrorKind::kInvalidInput, "blk.0.attn_q.weight");
  // A type flipped to one with other block sizes: the bytes of the tensor no longer fit.
  MakeGguf(model).AddTensor("output_norm.weight", GgmlType::kF32, {32}, std::string(64, '\0')).Write(path);
  ExpectLoadError(path, ErrorKind::kCorrupt, "output_norm.weight");
  MakeGguf(model).AddTensor("token_embd.weight", GgmlType::kF32, {96}, std::string(384, '\0')).Write(path);
  ExpectLoadError(path, ErrorKind::kCorrupt, "token_embd.weight");
}

TEST_F(WeightsTest, DamagedGgufMetadataNamesTheKey) {
  const GgufBuilder good = MakeGguf(MakeTinyModel(TinyLlamaConfig(), 5));
  const fs::path path = Path("m.gguf");
  const auto expect = [&](GgufBuilder builder, ErrorKind kind, const std::string& culprit) {
    builder.Write(path);
    ExpectLoadError(path, kind, culprit);
  };
  expect(GgufBuilder(good).SetString("general.architecture", "mamba"), ErrorKind::kInvalidInput, "mamba");
  expect(GgufBuilder(good).Remove("general.architecture"), ErrorKind::kCorrupt, "general.architecture");
  expect(GgufBuilder(good).Remove("llama.block_count"), ErrorKind::kCorrupt, "llama.block_count");
  expect(GgufBuilder(good).SetString("llama.block_count", "2"), ErrorKind::kCorrupt, "llama.block_count");
  expect(GgufBuilder(good).SetInt("llama.block_count", 4000000000), ErrorKind::kInvalidInput,
         "layers is 4000000000");
  expect(GgufBuilder(good).SetInt("llama.block_count", 3), ErrorKind::kCorrupt, "blk.2.attn_norm.weight");
  expect(GgufBuilder(good).SetInt("llama.block_count", 1), ErrorKind::kInvalidInput, "blk.1.attn_k.weight");
  expect(GgufBuilder(good).SetInt("llama.vocab_size", 95), ErrorKind::kCorrupt, "llama.vocab_size");
  expect(GgufBuilder(good).SetInt("llama.attention.head_count", 0), ErrorKind::kInvalidInput, "heads is 0");
  expect(GgufBuilder(good).SetInt("llama.attention.value_length", 16), ErrorKind::kInvalidInput,
         "value_length");
  expect(GgufBuilder(good).SetInt("llama.rope.dimension_count", 4), ErrorKind::kInvalidInput,
         "dimension_count");
  expect(GgufBuilder(good).SetString("llama.rope.scaling.type", "mystery"), ErrorKind::kInvalidInput, "mystery");
  expect(GgufBuilder(good).SetString("llama.rope.scaling.type", "yarn").SetFloat("llama.rope.scaling.factor", 0),
         ErrorKind::kInvalidInput, "factor is 0");
}

// Whatever is cut or flipped in any file of a checkpoint: the answer is a model or an Error that names the checkpoint.
TEST_F(WeightsTest, DamagedFilesNeverDoMoreThanThrow) {
  const ModelWeights model = MakeTinyModel(TinyGemma3Config(), 5);
  WriteHuggingFaceModel(model, Path("hf"));
  WriteHuggingFaceModel(model, Path("shards"), 2);
  MakeGguf(model).Write(Path("m.gguf"));
  struct Victim {
    const char *file, *model;
    int refused_flips;  // at least, per cent of those in the first 4 KiB: structure; a flipped weight is a weight
  };
  for (const Victim& v : {Victim{"m.gguf", "m.gguf", 50}, {"hf/model.safetensors", "hf", 75}, {"hf/config.json", "hf", 50},
                          {"shards/model.safetensors.index.json", "shards", 75},
                          {"shards/model-00002-of-00002.safetensors", "shards", 75}}) {
    const size_t step = fs::file_size(Path(v.file)) / 40 + 1;
    const DamageOptions options{.cut_every = step, .flips = 200, .flip_within = 4096};
    const DamageCounts counts =
        ReadDamaged(Path(v.file), v.model, options, [&] { LoadModelWeights(Path(v.model), torch::kFloat); });
    EXPECT_GE(counts.refused, counts.cuts + counts.flips * v.refused_flips / 100) << v.file;
  }
}

// Sizes that a file only claims are not allocated.
TEST_F(WeightsTest, ClaimedSizesAreNotBelieved) {
  WriteHuggingFaceModel(MakeTinyModel(TinyLlamaConfig(), 5), Path("hf"));
  const std::string good = ReadFile(Path("hf/config.json"));
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                          "head_dim", "intermediate_size", "max_position_embeddings"}) {
    for (const int64_t size : {int64_t{-1}, int64_t{0}, int64_t{1} << 31, int64_t{1} << 60, INT64_MAX}) {
      Json config = ParseJson(good, "config.json");
      config[key] = size;
      WriteUnsynced(Path("hf/config.json"), JsonLine(config));
      if (std::string_view(key) == "max_position_embeddings" && size > 0) continue;  // only what positions may be asked for
      try {
        LoadModelWeights(Path("hf"), torch::kFloat);
        ADD_FAILURE() << key << " = " << size << " was accepted";
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("hf"), std::string::npos) << error.what();
        EXPECT_TRUE(error.kind() == ErrorKind::kInvalidInput || error.kind() == ErrorKind::kCorrupt) << error.what();
      }
    }
  }
}

// Matrices that are stored in the type asked for are read where they lie, and so outlive their name.
TEST_F(WeightsTest, MatricesStayInTheMappedFile) {
  const ModelWeights model = MakeTinyModel(TinyLlamaConfig(), 5);
  WriteHuggingFaceModel(model, Path("hf"));
  const ModelWeights loaded = LoadModelWeights(Path("hf"), torch::kFloat);
  fs::remove_all(Path("hf"));
  EXPECT_TRUE(loaded.embedding.equal(model.embedding));
  EXPECT_TRUE(loaded.layers[1].down.equal(model.layers[1].down));
  EXPECT_FALSE(loaded.embedding.storage().resizable()) << "it was copied";
  // Gate and up lie one after the other in it, so the decoder uses them as one without a copy.
  const void* gate = loaded.layers[1].gate.data_ptr();
  const Decoder decoder(loaded);
  EXPECT_EQ(decoder.weights().layers[1].gate.data_ptr(), gate);
  EXPECT_TRUE(decoder.weights().layers[1].up.equal(model.layers[1].up));
  EXPECT_TRUE(decoder.weights().layers[1].q.equal(model.layers[1].q));
}

class HuggingFaceDamage : public WeightsTest {
 protected:
  void SetUp() override {
    WeightsTest::SetUp();
    model_ = MakeTinyModel(TinyLlamaConfig(), 5);
    WriteHuggingFaceModel(model_, Path("hf"), 2);
  }

  // Rewrites a JSON file of the checkpoint.
  void Edit(const std::string& file, const std::function<void(Json&)>& change) {
    Json json = ReadJsonFile(Path("hf") / file);
    change(json);
    WriteJsonFile(Path("hf") / file, json);
  }

  // Replaces the shards by one file of the given tensors of the model, one of them possibly changed.
  void WriteOneFile(const std::function<void(std::vector<NamedTensor>&)>& change) {
    fs::remove_all(Path("hf"));
    WriteHuggingFaceModel(model_, Path("hf"));
    std::vector<NamedTensor> tensors;
    for (const TensorSlot& slot : ListTensors(model_)) {
      tensors.push_back({slot.hf_name,
                         DType::kF32,
                         slot.shape,
                         {static_cast<const std::byte*>(slot.tensor->data_ptr()), slot.tensor->nbytes()}});
    }
    change(tensors);
    WriteSafetensors(Path("hf/model.safetensors"), tensors);
  }

  ModelWeights model_;
};

TEST_F(HuggingFaceDamage, FilesMissing) {
  fs::remove(Path("hf/model-00002-of-00002.safetensors"));
  ExpectLoadError(Path("hf"), ErrorKind::kNotFound, "model-00002-of-00002.safetensors");
  fs::remove(Path("hf/model.safetensors.index.json"));
  ExpectLoadError(Path("hf"), ErrorKind::kNotFound, "model.safetensors");
  std::ofstream(Path("hf/pytorch_model.bin")) << "pickle";
  ExpectLoadError(Path("hf"), ErrorKind::kInvalidInput, "save_pretrained");
  fs::rename(Path("hf/pytorch_model.bin"), Path("hf/consolidated.00.pth"));
  ExpectLoadError(Path("hf"), ErrorKind::kInvalidInput, "consolidated.00.pth is a Python pickle");
  fs::remove(Path("hf/config.json"));
  ExpectLoadError(Path("hf"), ErrorKind::kNotFound, "config.json");
  ExpectLoadError(Path("nowhere"), ErrorKind::kNotFound, "nowhere");
}

TEST_F(HuggingFaceDamage, ShardTruncated) {
  const fs::path shard = Path("hf/model-00001-of-00002.safetensors");
  fs::resize_file(shard, fs::file_size(shard) - 1);
  try {
    LoadModelWeights(Path("hf"), torch::kFloat);
    FAIL() << "a truncated shard was loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    EXPECT_NE(error.message().find("model-00001-of-00002.safetensors"), std::string::npos) << error.what();
  }
}

TEST_F(HuggingFaceDamage, IndexContradictsShards) {
  const std::string index = "model.safetensors.index.json";
  Edit(index, [](Json& json) { json["weight_map"]["model.norm.weight"] = "../model.safetensors"; });
  ExpectLoadError(Path("hf"), ErrorKind::kCorrupt, "../model.safetensors");
  Edit(index, [](Json& json) { json["weight_map"]["model.norm.weight"] = 7; });
  ExpectLoadError(Path("hf"), ErrorKind::kCorrupt, "model.norm.weight");
  Edit(index, [](Json& json) { json["weight_map"].erase("model.norm.weight"); });
  ExpectLoadError(Path("hf"), ErrorKind::kCorrupt, "model.norm.weight [32] is missing");
  Edit(index, [](Json& json) { json["weight_map"]["model.extra"] = "model-00001-of-00002.safetensors"; });
  ExpectLoadError(Path("hf"), ErrorKind::kCorrupt, "model.extra");
  Edit(index, [](Json& json) { json["weight_map"] = {1, 2}; });
  ExpectLoadError(Path("hf"), ErrorKind::kCorrupt, "weight_map");
}

TEST_F(HuggingFaceDamage, TensorsDoNotFit) {
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const auto find = [&](std::vector<NamedTensor>& tensors) {
    return std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& t) { return t.name == name; });
  };
  WriteOneFile([&](auto& tensors) { tensors.erase(find(tensors)); });
  ExpectLoadError(Path("hf"), ErrorKind::kCorrupt, name + " [64, 32] is missing");
  WriteOneFile([&](auto& tensors) { find(tensors)->shape = {32, 64}; });
  ExpectLoadError(Path("hf"), ErrorKind::kCorrupt, name + " has shape [32, 64], expected [64, 32]");
  WriteOneFile([&](auto& tensors) { find(tensors)->dtype = DType::kI32; });
  ExpectLoadError(Path("hf"), ErrorKind::kInvalidInput, name + " is of type I32");
  WriteOneFile([&](auto& tensors) { find(tensors)->name += "_scale"; });
  ExpectLoadError(Path("hf"), ErrorKind::kCorrupt, name + "_scale");
}

TEST_F(HuggingFaceDamage, HeadAndTying) {
  const auto add_head = [&](const torch::Tensor& head) {
    WriteOneFile([&](auto& tensors) {
      tensors.push_back({"lm_head.weight",
                         DType::kF32,
                         {96, 32},
                         {static_cast<const std::byte*>(head.data_ptr()), head.nbytes()}});
    });
  };
  add_head(model_.embedding);  // a copy of the tied embedding is harmless
  ExpectSameTensors(LoadModelWeights(Path("hf"), torch::kFloat), model_);
  const torch::Tensor other = model_.embedding + 1;
  add_head(other);
  ExpectLoadError(Path("hf"), ErrorKind::kCorrupt, "tie_word_embeddings");
  Edit("config.json", [](Json& config) { config["tie_word_embeddings"] = false; });
  const ModelWeights untied = LoadModelWeights(Path("hf"), torch::kFloat);
  EXPECT_TRUE(torch::equal(untied.head, other));
  EXPECT_TRUE(torch::equal(untied.embedding, model_.embedding));
  WriteOneFile([](auto&) {});
  Edit("config.json", [](Json& config) { config["tie_word_embeddings"] = false; });
  ExpectLoadError(Path("hf"), ErrorKind::kCorrupt, "lm_head.weight [96, 32] is missing");
}

TEST(Weights, OtherDtypesAreRefused) {
  try {
    LoadModelWeights(kGolden / "model_tiny_llama", torch::kHalf);
    FAIL() << "f16 was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    EXPECT_NE(error.message().find("bf16"), std::string::npos);
  }
}

}  // namespace
}  // namespace elrea
