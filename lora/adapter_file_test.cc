#include "lora/adapter_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/damage.h"
#include "core/error.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "core/temp_dir.h"
#include "lora/gguf_adapter.h"
#include "lora/tensor_file.h"
#include "lora/testing.h"
#include "model/testing.h"

namespace elrea {
namespace {

class AdapterFileTest : public testing::Test {
 protected:
  void Save(const AdapterConfig& config) {
    adapter_ = MakeRandomAdapter(model_, config, 3);
    adapter_.base_fingerprint = "0123456789abcdef";
    SaveAdapter(temp_.path(), adapter_, model_, "tiny");
  }
  void EditConfig(const char* key, const Json& value) {
    Json config = ReadJsonFile(temp_ / "adapter_config.json");
    config[key] = value;
    WriteJsonFile(temp_ / "adapter_config.json", config);
  }
  void ExpectRefused(ErrorKind kind, const std::string& culprit) {
    try {
      LoadAdapter(temp_.path(), model_);
      FAIL() << "no error; expected one naming " << culprit;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.message();
      EXPECT_NE(std::string(error.what()).find(culprit), std::string::npos) << error.what();
    }
  }
  ModelConfig model_ = TinyLlamaConfig();
  Adapter adapter_;
  TempDir temp_;
};

TEST_F(AdapterFileTest, RoundTripKeepsEveryBit) {
  Save({.rank = 4, .alpha = 8});
  Adapter loaded = LoadAdapter(temp_.path(), model_);
  EXPECT_TRUE(loaded.params.equal(adapter_.params));
  EXPECT_EQ(loaded.config, adapter_.config);
  EXPECT_EQ(loaded.base_fingerprint, adapter_.base_fingerprint);
}

TEST_F(AdapterFileTest, NamesAndShapesArePefts) {
  Save({.rank = 4, .alpha = 8});
  SafetensorsFile file(temp_ / "adapter_model.safetensors");
  EXPECT_EQ(file.tensors().size(), 2u * 7 * model_.layers);
  EXPECT_EQ(file.Get("base_model.model.model.layers.1.mlp.down_proj.lora_A.weight").shape,
            (std::vector<int64_t>{4, model_.ffn}));
  EXPECT_EQ(file.Get("base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight").shape,
            (std::vector<int64_t>{model_.kv_heads * model_.head_dim, 4}));
}

TEST_F(AdapterFileTest, ASubsetOfModulesAndRsLoraAreHonoured) {
  AdapterConfig config{.rank = 4, .alpha = 8, .targets = {true, false, true, false, false, false, true}};
  Save(config);
  EditConfig("use_rslora", true);
  Adapter loaded = LoadAdapter(temp_.path(), model_);
  EXPECT_EQ(loaded.config.targets, config.targets);
  EXPECT_NEAR(loaded.config.scale(), 8 / std::sqrt(4.0), 1e-12);
}

TEST_F(AdapterFileTest, WhatCannotBeHonouredIsRefusedByName) {
  for (auto [key, value] : std::vector<std::pair<const char*, Json>>{{"use_dora", true},
                                                                     {"modules_to_save", {"lm_head"}},
                                                                     {"init_lora_weights", "pissa"},
                                                                     {"lora_bias", true},
                                                                     {"alora_invocation_tokens", {1, 2}},
                                                                     {"an_option_of_tomorrow", 3},
                                                                     {"peft_type", "LOHA"},
                                                                     {"bias", "all"}}) {
    Save({.rank = 4, .alpha = 8});
    EditConfig(key, value);
    ExpectRefused(ErrorKind::kInvalidInput, key == std::string("bias") ? "bias" : key);
  }
}

// What the configuration says and what the tensors are must be one thing.
TEST_F(AdapterFileTest, ConfigurationAndTensorsThatContradictAreRefused) {
  Save({.rank = 4, .alpha = 8});
  EditConfig("rank_pattern", {{"q_proj", 2}});
  ExpectRefused(ErrorKind::kInvalidInput, "q_proj.lora_A.weight has shape [4, 32], expected [2, 32]");
  Save({.rank = 4, .alpha = 8});
  EditConfig("layers_to_transform", {0});
  ExpectRefused(ErrorKind::kCorrupt, "does not adapt model.layers.1");
  Save({.rank = 4, .alpha = 8, .targets = {true, true, false}});
  EditConfig("target_modules", {"q_proj", "k_proj", "v_proj"});
  ExpectRefused(ErrorKind::kCorrupt, "v_proj.lora_A.weight is missing");
  EditConfig("target_modules", "(((");
  ExpectRefused(ErrorKind::kInvalidInput, "regular expression");
  EditConfig("target_modules", "(.*.*.*.*.*.*)*[!?]");
  ExpectRefused(ErrorKind::kInvalidInput, "takes too long");
  EditConfig("r", 1000000);
  ExpectRefused(ErrorKind::kCorrupt, "1000000");
}

TEST_F(AdapterFileTest, APickleIsRefusedWithTheCommandToConvertIt) {
  Save({.rank = 4, .alpha = 8});
  fs::rename(temp_ / "adapter_model.safetensors", temp_ / "adapter_model.bin");
  ExpectRefused(ErrorKind::kInvalidInput, "save_file(torch.load(");
}

TEST_F(AdapterFileTest, AnotherBackboneOrRankIsRefused) {
  Save({.rank = 4, .alpha = 8});
  model_.ffn = 128;
  ExpectRefused(ErrorKind::kInvalidInput, "another backbone");
  model_ = TinyLlamaConfig();
  model_.layers = 1;
  ExpectRefused(ErrorKind::kInvalidInput, "layers.1");
  model_ = TinyLlamaConfig();
  EditConfig("r", 8);
  ExpectRefused(ErrorKind::kInvalidInput, "shape");
}

TEST_F(AdapterFileTest, DamageIsFound) {
  Save({.rank = 4, .alpha = 8});
  std::string bytes = ReadFile(temp_ / "adapter_model.safetensors");
  std::string flipped = bytes;
  flipped[flipped.size() - 5] = static_cast<char>(flipped[flipped.size() - 5] ^ 4);
  WriteFileAtomically(temp_ / "adapter_model.safetensors", flipped);
  ExpectRefused(ErrorKind::kCorrupt, "adapter_model.safetensors");
  WriteFileAtomically(temp_ / "adapter_model.safetensors", bytes.substr(0, bytes.size() / 2));
  ExpectRefused(ErrorKind::kCorrupt, "adapter_model.safetensors");
  fs::remove(temp_ / "adapter_model.safetensors");
  ExpectRefused(ErrorKind::kNotFound, "adapter_model.safetensors");
  fs::remove(temp_ / "adapter_config.json");
  ExpectRefused(ErrorKind::kNotFound, "adapter_config.json");
}

// Whatever is cut or flipped in either file: an adapter or an Error that names the folder.
TEST_F(AdapterFileTest, DamagedFilesNeverDoMoreThanThrow) {
  Save({.rank = 4, .alpha = 8});
  const auto load = [&] { LoadAdapter(temp_.path(), model_); };
  const fs::path tensors = temp_ / "adapter_model.safetensors", config = temp_ / "adapter_config.json";
  const std::string folder = temp_.path().string();
  const DamageCounts cut = ReadDamaged(tensors, folder, {.cut_every = 997, .flips = 300}, load);
  // All under a checksum, but a name in the header may change case and back.
  EXPECT_GE(cut.refused, cut.cuts + cut.flips - cut.flips / 60);
  const DamageCounts flipped = ReadDamaged(config, folder, {.cut_every = 3, .flips = 500}, load);
  EXPECT_GT(flipped.refused, flipped.flips / 2);
  for (const char* text : {"[]", "3", "null", "\"r\"", "{}", "{\"r\": {}}", "{\"r\": 4, \"rank_pattern\": [4]}"}) {
    WriteUnsynced(config, text);
    ExpectRefused(ErrorKind::kCorrupt, "adapter_config.json");
  }
}

TEST_F(AdapterFileTest, ADamagedGgufLoraNeverDoesMoreThanThrow) {
  Save({.rank = 4, .alpha = 8});
  const TempDir folder;
  const fs::path path = folder / "lora.gguf";
  SaveGgufAdapter(path, adapter_, model_, {});
  const DamageCounts counts = ReadDamaged(path, "lora.gguf", {.cut_every = 997, .flips = 400, .flip_within = 4096},
                                          [&] { LoadAdapter(path, model_); });
  EXPECT_GT(counts.refused, (counts.cuts + counts.flips) / 2);
}

// Shapes that only the configuration claims are compared before anything of their size is made.
TEST_F(AdapterFileTest, ClaimedRanksAreNotBelieved) {
  Save({.rank = 4, .alpha = 8});
  for (const int64_t rank : {int64_t{-1}, int64_t{0}, int64_t{65536}, int64_t{1} << 40, INT64_MAX}) {
    EditConfig("r", rank);
    try {
      LoadAdapter(temp_.path(), model_);
      ADD_FAILURE() << rank << " was accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(temp_.path().string()), std::string::npos) << error.what();
    }
  }
}

TEST_F(AdapterFileTest, ANonFiniteWeightIsRefused) {
  adapter_ = MakeRandomAdapter(model_, {.rank = 4, .alpha = 8}, 3);
  adapter_.params[17] = NAN;
  SaveAdapter(temp_.path(), adapter_, model_, "tiny");
  ExpectRefused(ErrorKind::kCorrupt, "not finite");
}

}  // namespace
}  // namespace elrea
