// The command line against golden outputs of an independent implementation (tools/oracle/pipeline_model.py),
// and its help and configuration files.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <cmath>

#include "cli/study_config.h"
#include "lora/tensor_file.h"
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

TEST_F(GoldenTest, LogitsGiveTheScores) {
  const TempDir folder;
  const ProgramResult result =
      RunElrea({"score", "--model", TinyModel(), "--dtype", "f32", "--input", WriteInput("score", "text"), "--json",
                "--logits", folder.path().string()});
  const auto lines = JsonLines(result.out);
  ASSERT_EQ(lines.size(), golden_["score"].size()) << result.err;
  int64_t compared = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto tokens = lines[i]["tokens"].get<std::vector<int64_t>>();
    if (tokens.size() < 2) continue;
    const SafetensorsFile file(folder / ("text" + std::to_string(i + 1) + ".safetensors"));
    const torch::Tensor logits = LoadFloat(file, "logits");
    ASSERT_EQ(logits.size(0), static_cast<int64_t>(tokens.size()));
    const torch::Tensor log_probs = torch::log_softmax(logits, 1);
    for (size_t t = 1; t < tokens.size(); ++t, ++compared) {
      EXPECT_NEAR(log_probs[static_cast<int64_t>(t) - 1][tokens[t]].item<double>(),
                  lines[i]["logprobs"][t].get<double>(), 1e-5);
    }
  }
  EXPECT_GT(compared, 10);
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

TEST_F(GoldenTest, TokenizeGoesBothWays) {
  const std::string texts = WriteInput("score", "text");
  const auto tokens = JsonLines(RunElrea({"tokenize", "--model", TinyModel(), "--input", texts, "--json"}).out);
  const fs::path ids = folder_ / "ids.jsonl";
  std::string lines;
  for (const Json& line : tokens) lines += JsonLine(line) + "\n";
  WriteFileAtomically(ids, lines);
  const auto back = JsonLines(RunElrea({"tokenize", "--model", TinyModel(), "--input", ids.string(), "--decode"}).out);
  ASSERT_EQ(back.size(), tokens.size());
  ASSERT_GT(back.size(), 0u);
  for (size_t i = 0; i < back.size(); ++i) EXPECT_EQ(back[i]["text"], golden_["score"][i]["text"]);
  WriteFileAtomically(ids, "{\"tokens\": [0]}\n{\"tokens\": [1000000]}\n");
  const auto refused = RunElrea({"tokenize", "--model", TinyModel(), "--input", ids.string(), "--decode"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("ids.jsonl:2"), std::string::npos) << refused.err;
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

TEST(DataImport, WritesToStandardOutputOrToAFile) {
  const TempDir folder;
  WriteFileAtomically(folder / "q.jsonl", "{\"question\": \"1+1?\", \"answer\": \"It is two.\\n#### 2\"}\n");
  const std::string input = (folder / "q.jsonl").string(), output = (folder / "rows.jsonl").string();
  const ProgramResult printed = RunElrea({"data", "import", "gsm8k", input});
  ASSERT_EQ(printed.exit_code, 0) << printed.err;
  EXPECT_EQ(JsonLines(printed.out).at(0)["answer"], "2");
  ASSERT_EQ(RunElrea({"data", "import", "gsm8k", input, "--output", output}).exit_code, 0);
  EXPECT_EQ(ReadFile(output), printed.out);
}

TEST(DataMatch, FindsAndComparesAnswersAgain) {
  const TempDir folder;
  WriteFileAtomically(folder / "a.jsonl",
                      R"j({"response": "So the answer is (B).", "gold": "(B)", "source": "bbh"})j"
                      "\n"
                      R"j({"response": "b", "gold": "(B)", "source": "bbh", "answer": "stale", "correct": false})j"
                      "\n"
                      R"j({"response": "\\boxed{2}", "gold": "3", "source": "math"})j"
                      "\n");
  const auto lines = JsonLines(RunElrea({"data", "match", folder / "a.jsonl", "--json"}).out);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].dump(), R"j({"gold":"(B)","answer":"(B)","strict":true,"flexible":true})j");
  EXPECT_EQ(lines[1].dump(), R"j({"gold":"(B)","answer":"b","strict":false,"flexible":true})j");
  EXPECT_EQ(lines[2].dump(), R"j({"gold":"3","answer":"2","strict":false,"flexible":false})j");
  const ProgramResult table = RunElrea({"data", "match", folder / "a.jsonl"});
  EXPECT_NE(table.out.find("50.0"), std::string::npos) << table.out;
  WriteFileAtomically(folder / "b.jsonl", "{\"response\": \"x\"}\n");
  const ProgramResult bad = RunElrea({"data", "match", folder / "b.jsonl"});
  EXPECT_EQ(bad.exit_code, 4);
  EXPECT_NE(bad.err.find("b.jsonl:1"), std::string::npos) << bad.err;
  EXPECT_EQ(RunElrea({"data", "match", folder / "b.jsonl", "--answer-style", "boxd"}).exit_code, 2);
}

TEST(Eval, RowsWithoutAnAnswerAreReported) {
  const TempDir folder;
  WriteFileAtomically(folder / "rows.jsonl", "{\"prompt\": \"1+1?\"}\n{\"prompt\": \"2+2?\", \"answer\": \"4\"}\n");
  const ProgramResult result = RunElrea({"eval", "--model", TinyModel(), "--input", (folder / "rows.jsonl").string(),
                                         "--max-new-tokens", "2", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(JsonLines(result.out).size(), 1u);
  EXPECT_NE(result.err.find("rows.jsonl:1"), std::string::npos) << result.err;
}

TEST(Eval, GoesOnOnlyWithTheDecodingWeightsOfItsFolder) {
  const TempDir folder;
  WriteFileAtomically(folder / "rows.jsonl", "{\"prompt\": \"2+2?\", \"answer\": \"4\"}\n");
  const fs::path out = folder / "out";
  const auto evaluate = [&] {
    return RunElrea({"eval", "--model", TinyModel(), "--input", (folder / "rows.jsonl").string(), "--max-new-tokens", "2",
                     "--out", out.string()});
  };
  ASSERT_EQ(evaluate().exit_code, 0);
  ASSERT_EQ(evaluate().exit_code, 0);
  Json manifest = ReadJsonFile(out / "eval.json");
  manifest["methods"]["backbone"]["decode_weights"] = "packed";  // the tiny model has none to pack
  WriteJsonFile(out / "eval.json", manifest);
  const ProgramResult result = evaluate();
  EXPECT_EQ(result.exit_code, ExitCode(ErrorKind::kInvalidInput));
  EXPECT_NE(result.err.find("backbone.decode_weights"), std::string::npos) << result.err;
  EXPECT_EQ(ReadJsonFile(out / "eval.json"), manifest);
}

// A mistake on the command line is answered with the help page that lists what would have been right.
TEST(CommandLine, MistakesPointToTheCommandsOwnHelp) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> mistakes = {
      {{"run"}, "--out is required; see `elrea run --help`"},
      {{"adapter", "merge"}, "ADAPTER is required; see `elrea adapter merge --help`"},
      {{"model", "info", "--nowhere"}, "see `elrea model info --help`"},
      {{"nothing"}, "see `elrea --help`"},
      {{}, "no command given; see `elrea --help`"}};
  for (const auto& [arguments, said] : mistakes) {
    const ProgramResult result = RunElrea(arguments);
    EXPECT_EQ(result.exit_code, 2) << said;
    EXPECT_NE(ErrorLine(result).find(said), std::string::npos) << result.err;
  }
}

TEST(Help, IsThereForEveryCommand) {
  const ProgramResult top = RunElrea({"--help"});
  EXPECT_EQ(top.exit_code, 0);
  for (const char* command : {"run", "data", "train", "features", "cluster", "experts", "route", "generate",
                              "chat", "eval", "inspect", "tokenize", "embed", "render", "score", "model", "adapter", "serve", "config",
                              "study"}) {
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
    if (entry.path().filename().string().starts_with("study")) {
      EXPECT_NO_THROW(LoadStudyConfig(entry.path(), {})) << entry.path();
    } else {
      EXPECT_NO_THROW(LoadConfig(entry.path(), {})) << entry.path();
    }
    ++count;
  }
  EXPECT_GE(count, 2);
}

}  // namespace
}  // namespace elrea
