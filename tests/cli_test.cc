// The command line against golden outputs of an independent implementation (tools/oracle/pipeline_model.py),
// and its help and configuration files.
#include <gtest/gtest.h>

#include <cmath>

#include "cli/pipeline_config.h"
#include "tests/elrea_program.h"

namespace elrea {
namespace {

class GoldenTest : public testing::Test {
 protected:
  // The texts or prompts of one part of golden.json as an input file.
  fs::path WriteInput(const char* part, const char* field) {
    std::string lines;
    for (const Json& item : golden_[part]) lines += JsonLine({{field, item[field]}}) + "\n";
    WriteFileAtomically(folder_ / "input.jsonl", lines);
    return folder_ / "input.jsonl";
  }

  TempDir folder_;
  Json golden_ = ReadJsonFile(TinyModel() / "golden.json");
};

TEST_F(GoldenTest, TokenizeEqualsTheReference) {
  const ProgramResult result =
      RunElrea({"tokenize", "--model", TinyModel(), "--input", WriteInput("score", "text"), "--json"});
  const auto lines = JsonLines(result.out);
  ASSERT_EQ(lines.size(), golden_["score"].size()) << result.err;
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i]["tokens"], golden_["score"][i]["tokens"]);
}

TEST_F(GoldenTest, ScoreEqualsTheReference) {
  const ProgramResult result = RunElrea(
      {"score", "--model", TinyModel(), "--dtype", "f32", "--input", WriteInput("score", "text"), "--json"});
  const auto lines = JsonLines(result.out);
  ASSERT_EQ(lines.size(), golden_["score"].size()) << result.err;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Json& expected = golden_["score"][i]["logprobs"];
    ASSERT_EQ(lines[i]["logprobs"].size(), expected.size());
    EXPECT_TRUE(lines[i]["logprobs"][0].is_null());
    for (size_t t = 1; t < expected.size(); ++t) {
      EXPECT_NEAR(lines[i]["logprobs"][t].get<double>(), expected[t].get<double>(), 1e-4) << i << " " << t;
    }
  }
}

TEST_F(GoldenTest, GreedyTextEqualsTheReference) {
  const ProgramResult result =
      RunElrea({"generate", "--model", TinyModel(), "--dtype", "f32", "--max-new-tokens", "12", "--input",
                WriteInput("generate", "prompt"), "--json"});
  const auto lines = JsonLines(result.out);
  ASSERT_EQ(lines.size(), golden_["generate"].size()) << result.err;
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i]["tokens"], golden_["generate"][i]["tokens"]);
}

TEST_F(GoldenTest, BosIsAddedOnlyOnRequest) {
  const auto plain = JsonLines(RunElrea({"tokenize", "--model", TinyModel(), "--text", "a", "--json"}).out);
  const auto with_bos =
      JsonLines(RunElrea({"tokenize", "--model", TinyModel(), "--text", "a", "--json", "--bos"}).out);
  ASSERT_EQ(plain.at(0)["tokens"].size(), 1u);
  EXPECT_EQ(with_bos.at(0)["tokens"], Json::array({1, plain[0]["tokens"][0]}));
}

TEST_F(GoldenTest, SamplingIsAFunctionOfTheSeed) {
  const auto draw = [&](const char* seed) {
    return RunElrea({"generate", "--model", TinyModel(), "--prompt", "hi", "--temperature", "1.5", "--seed",
                     seed, "--max-new-tokens", "8", "--json"})
        .out;
  };
  const std::string first = draw("1");
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(first, draw("1"));
  EXPECT_NE(first, draw("2"));
}

TEST(Help, IsThereForEveryCommand) {
  const ProgramResult top = RunElrea({"--help"});
  EXPECT_EQ(top.exit_code, 0);
  for (const char* command : {"run", "data", "train", "features", "cluster", "experts", "route", "generate",
                              "chat", "eval", "inspect", "tokenize", "score", "model", "config"}) {
    EXPECT_NE(top.out.find(command), std::string::npos) << command;
    const ProgramResult help = RunElrea({command, "--help"});
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_NE(help.out.find("--"), std::string::npos) << command;
  }
  EXPECT_NE(RunElrea({"--version"}).out.find('.'), std::string::npos);
}

TEST(Config, PrintedOptionsLoadBackToTheSameValues) {
  const TempDir folder;
  const ProgramResult printed = RunElrea({"config", "--set", "finetune.epochs=7"});
  ASSERT_EQ(printed.exit_code, 0) << printed.err;
  WriteFileAtomically(folder / "all.yaml", printed.out);
  const PipelineConfig config = LoadConfig(folder / "all.yaml", {});
  EXPECT_EQ(config.finetune.epochs, 7);
  EXPECT_EQ(ConfigYaml(config), printed.out);
}

TEST(Config, EveryConfigOfTheProjectLoads) {
  int64_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(ELREA_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() != ".yaml") continue;
    EXPECT_NO_THROW(LoadConfig(entry.path(), {})) << entry.path();
    ++count;
  }
  EXPECT_GE(count, 2);
}

}  // namespace
}  // namespace elrea
