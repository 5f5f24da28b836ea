// `elrea adapter` and `elrea model info|quantize` as a user runs them: what they print, what they write, what
// they refuse.
#include <gtest/gtest.h>

#include "core/gguf.h"
#include "core/safetensors.h"
#include "lora/adapter_file.h"
#include "lora/testing.h"
#include "tests/elrea_program.h"

namespace elrea {
namespace {

constexpr int kInvalid = 2, kMissing = 3, kCorrupt = 4;

void ExpectRefused(const ProgramResult& result, int exit_code,
                   std::initializer_list<std::string_view> parts) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  for (std::string_view part : parts)
    EXPECT_NE(ErrorLine(result).find(part), std::string::npos)
        << "\"" << part << "\" is not in: " << result.err;
  EXPECT_EQ(result.out, "");
}

Json OnlyLine(const ProgramResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto lines = JsonLines(result.out);
  EXPECT_EQ(lines.size(), 1u) << result.out;
  return lines.empty() ? Json() : lines[0];
}

// Two random adapters of the tiny model, and a place to write to.
class ModelFiles : public testing::Test {
 protected:
  void SetUp() override {
    const ModelWeights weights = LoadModelWeights(TinyModel(), torch::kFloat);
    for (const uint64_t seed : {1, 2}) {
      const AdapterConfig config{.rank = static_cast<int64_t>(2 * seed), .alpha = 4};
      Adapter adapter = MakeRandomAdapter(weights.config, config, seed);
      adapter.base_fingerprint = weights.fingerprint;
      SaveAdapter(Place(seed == 1 ? "one" : "two"), adapter, weights.config, weights.origin);
    }
  }

  fs::path Place(std::string_view name) const { return folder_ / name; }
  ProgramResult Adapters(std::vector<std::string> arguments, const fs::path& model = TinyModel()) const {
    arguments.insert(arguments.begin(), "adapter");
    arguments.insert(arguments.end(), {"--model", model});
    return RunElrea(arguments);
  }
  // Log-probabilities of a text under the model, with an adapter where one is given.
  std::vector<double> Score(const fs::path& model, const fs::path& adapter = {}) const {
    std::vector<std::string> arguments = {"score", "--model", model,          "--dtype",
                                          "f32",   "--text",  "sort a, c, b", "--json"};
    if (!adapter.empty()) arguments.insert(arguments.end(), {"--adapter", adapter});
    const Json line = OnlyLine(RunElrea(arguments));
    std::vector<double> scores;
    for (const Json& value : line["logprobs"]) scores.push_back(value.is_null() ? 0 : value.get<double>());
    return scores;
  }
  static double LargestDifference(const std::vector<double>& a, const std::vector<double>& b) {
    EXPECT_EQ(a.size(), b.size());
    EXPECT_GT(a.size(), 3u);
    double largest = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
      largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
  }

  TempDir folder_;
};

TEST_F(ModelFiles, AdapterInfo) {
  const Json info = OnlyLine(Adapters({"info", Place("two"), "--json"}));
  EXPECT_EQ(info["rank"], 4);
  EXPECT_EQ(info["alpha"], 4.0);
  EXPECT_EQ(info["scale"], 1.0);
  EXPECT_NE(info["modules"].get<std::string>().find("down_proj"), std::string::npos);
  EXPECT_GT(info["update_norm"].get<double>(), 0);
  const ProgramResult table = Adapters({"info", Place("two")});
  EXPECT_NE(table.out.find("rank"), std::string::npos) << table.err;
  ExpectRefused(Adapters({"info", Place("three")}), kMissing, {"three"});
}

TEST_F(ModelFiles, AdapterMergeIsTheSum) {
  const fs::path merged = Place("merged");
  const Json record = OnlyLine(
      Adapters({"merge", Place("one"), Place("two"), "--weights", "1,1", "--output", merged, "--json"}));
  EXPECT_EQ(record["output"], merged.string());
  EXPECT_LE(record["max_logit_difference"].get<double>(), record["tolerance"].get<double>());
  EXPECT_EQ(OnlyLine(Adapters({"info", merged, "--json"}))["rank"], 6);
  const SafetensorsFile file(merged / "adapter_model.safetensors");
  EXPECT_NE(file.metadata().at("elrea.checked").find("weighted sum"), std::string::npos);

  // Of one adapter with weight one nothing changes.
  OnlyLine(Adapters({"merge", Place("one"), "--weights", "1", "--output", Place("same"), "--json"}));
  EXPECT_LT(LargestDifference(Score(TinyModel(), Place("same")), Score(TinyModel(), Place("one"))), 1e-5);

  ExpectRefused(Adapters({"merge", Place("one"), "--output", merged}), kInvalid, {"merged", "exists"});
  ExpectRefused(Adapters({"merge", Place("one"), Place("two"), "--weights", "1", "--output", Place("new")}),
                kInvalid, {"2 adapters, but 1 weights"});
  ExpectRefused(
      Adapters({"merge", Place("one"), Place("two"), "--method", "linear", "--output", Place("new")}),
      kInvalid, {"rank"});
  ExpectRefused(Adapters({"merge", Place("one"), "--method", "mean", "--output", Place("new")}), kInvalid,
                {"--method"});
  EXPECT_FALSE(fs::exists(Place("new")));
}

TEST_F(ModelFiles, AdapterFoldGivesTheModelWithTheAdapter) {
  const fs::path folded = Place("folded");
  const Json record = OnlyLine(Adapters({"fold", Place("one"), "--output", folded, "--json"}));
  EXPECT_LE(record["max_logit_difference"].get<double>(), record["tolerance"].get<double>());
  EXPECT_EQ(ReadJsonFile(folded / "elrea_check.json")["max_logit_difference"],
            record["max_logit_difference"]);
  const std::vector<double> expected = Score(TinyModel(), Place("one"));
  EXPECT_LT(LargestDifference(Score(folded), expected), 0.1);  // its matrices are bf16
  EXPECT_GT(LargestDifference(Score(TinyModel()), expected), 0.2) << "the adapter does nothing";

  ExpectRefused(Adapters({"fold", Place("one"), "--output", Place("tight"), "--tolerance", "1e-9"}), kInvalid,
                {"differs by", "nothing was written"});
  EXPECT_FALSE(fs::exists(Place("tight")));
  EXPECT_FALSE(fs::exists(Place("tight.unfinished")));
  ExpectRefused(Adapters({"fold", Place("one"), "--output", Place("folded.gguf")}), kInvalid, {"format"});
  // The folded model is another backbone.
  ExpectRefused(Adapters({"info", Place("one")}, folded), kInvalid, {"backbone"});
}

TEST_F(ModelFiles, AdapterExportToGgufAndBack) {
  const fs::path gguf = Place("one.gguf");
  const Json record = OnlyLine(Adapters({"export", Place("one"), "--output", gguf, "--json"}));
  EXPECT_LE(record["max_logit_difference"].get<double>(), 2e-3);
  EXPECT_TRUE(GgufFile(gguf).Contains("elrea.checked"));
  OnlyLine(Adapters({"export", gguf, "--format", "peft", "--output", Place("back"), "--json"}));
  EXPECT_LT(LargestDifference(Score(TinyModel(), Place("back")), Score(TinyModel(), Place("one"))), 1e-5);
  ExpectRefused(Adapters({"export", Place("one"), "--output", Place("folder")}), kInvalid,
                {".gguf", "--format"});
}

TEST_F(ModelFiles, DamagedAdaptersAreRefusedByEveryCommand) {
  const fs::path file = Place("one") / "adapter_model.safetensors";
  std::string bytes = ReadFile(file);
  bytes[bytes.size() - 3] ^= 4;
  WriteFileAtomically(file, bytes);
  ExpectRefused(Adapters({"info", Place("one")}), kCorrupt, {"adapter_model.safetensors"});
  for (const char* command : {"merge", "fold"})
    ExpectRefused(Adapters({command, Place("one"), "--output", Place("out")}), kCorrupt,
                  {"adapter_model.safetensors"});
  ExpectRefused(Adapters({"export", Place("one"), "--output", Place("out.gguf")}), kCorrupt,
                {"adapter_model.safetensors"});
  EXPECT_FALSE(fs::exists(Place("out")));
  EXPECT_FALSE(fs::exists(Place("out.gguf")));
}

TEST_F(ModelFiles, ModelInfo) {
  const Json info = OnlyLine(RunElrea({"model", "info", TinyModel(), "--json"}));
  EXPECT_EQ(info["config"]["family"], "llama");
  EXPECT_EQ(info["vocabulary"], 288);
  EXPECT_EQ(info["bytes_bf16"].get<int64_t>(), 2 * info["parameters"].get<int64_t>());
  ExpectRefused(RunElrea({"model", "info", "/nowhere"}), kMissing, {"/nowhere"});
}

TEST_F(ModelFiles, ModelQuantizeChecksWhatItWrote) {
  for (const std::string to : {"nf4_double", "int8"}) {
    const fs::path output = Place(to);
    const Json record =
        OnlyLine(RunElrea({"model", "quantize", TinyModel(), "--to", to, "--output", output, "--json"}));
    EXPECT_LT(record["max_logit_difference_of_codes"].get<double>(), 1e-4) << to;
    EXPECT_GT(record["max_logit_difference"].get<double>(), 1e-4) << to << ": nothing was quantised";
    EXPECT_LT(record["mean_kl_nats"].get<double>(), 0.1) << to;
    EXPECT_EQ(ReadJsonFile(output / "elrea_check.json")["mean_kl_nats"], record["mean_kl_nats"]);
    const Json info = OnlyLine(RunElrea({"model", "info", output, "--json"}));
    EXPECT_LT(info["bytes_kept"].get<int64_t>(), info["bytes_bf16"].get<int64_t>()) << to;
    ExpectRefused(RunElrea({"model", "quantize", output, "--to", to, "--output", Place("again")}), kInvalid,
                  {"quantised already"});
  }
  EXPECT_FALSE(fs::exists(Place("again")));
  ExpectRefused(RunElrea({"model", "quantize", TinyModel(), "--output", Place("int8")}), kInvalid, {"int8", "exists"});
  ExpectRefused(RunElrea({"model", "quantize", TinyModel(), "--to", "int3", "--output", Place("again")}),
                kInvalid, {"--to"});
}

}  // namespace
}  // namespace elrea
