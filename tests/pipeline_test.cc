// The whole pipeline on a tiny random model, through the program: one run serves all cases.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "tests/tiny_run.h"

namespace elrea {
namespace {

class PipelineTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    run_.emplace();
    first_ = run_->Go();
    ASSERT_EQ(first_.exit_code, 0) << first_.err;
  }
  static void TearDownTestSuite() { run_.reset(); }

  static ProgramResult Ask(std::vector<std::string> arguments, const ProgramOptions& options = {}) {
    arguments.insert(arguments.begin() + 1, {"--run", run_->run()});
    ProgramResult result = RunElrea(arguments, options);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  }

  static inline std::optional<TinyRun> run_;
  static inline ProgramResult first_;
};

TEST_F(PipelineTest, ShowsTheLedgerBeforeTraining) {
  const size_t ledger = first_.err.find("sums"), training = first_.err.find("base done");
  ASSERT_NE(ledger, std::string::npos) << first_.err;
  ASSERT_NE(training, std::string::npos) << first_.err;
  EXPECT_LT(ledger, training);
}

TEST_F(PipelineTest, ReportsEveryMethodWithIntervals) {
  EXPECT_NE(first_.out.find("on 20 held-out rows"), std::string::npos) << first_.out;
  const Json report = ReadJsonFile(run_->run() / "eval/report.json");
  for (const char* method : {"backbone", "base", "ensemble"}) {
    const Json& score = report["methods"][method];
    EXPECT_EQ(score["micro"]["n"], 20) << method;
    EXPECT_EQ(score["sources"]["sums"]["n"], 10) << method;
    EXPECT_LE(score["micro"]["interval_95"][0], score["micro"]["exact_match"]) << method;
    EXPECT_TRUE(std::isfinite(score["loss_nats_per_token"].get<double>())) << method;
  }
  ASSERT_EQ(report["comparisons"].size(), 2u);
  EXPECT_EQ(report["comparisons"][1]["method"], "ensemble");
  EXPECT_EQ(report["comparisons"][1]["with"], "base");
  // Fine-tuning on rows of the same kind must make the held-out responses likelier.
  const Json& methods = report["methods"];
  EXPECT_LT(methods["base"]["loss_nats_per_token"].get<double>(),
            methods["backbone"]["loss_nats_per_token"].get<double>() - 0.2);
}

TEST_F(PipelineTest, KeepsEveryArtifact) {
  for (const char* file : {"config.yaml", "run.json", "data/ledger.json", "base/adapter_model.safetensors",
                           "base/checkpoint-1/optimizer.safetensors", "base/checkpoint-2/adapter_config.json",
                           "base/metrics.jsonl", "experts/0/adapter_model.safetensors",
                           "experts/1/adapter_model.safetensors", "eval/ensemble.jsonl", "eval/report.txt"}) {
    EXPECT_TRUE(fs::is_regular_file(run_->run() / file)) << file;
  }
  EXPECT_FALSE(fs::exists(run_->run() / "base/state.safetensors"));  // only while training is under way
}

TEST_F(PipelineTest, AnExpertMayTakeAboutAsManyStepsAsAnEpochOfTheBase) {
  const fs::path other = run_->folder() / "equal";
  const ProgramResult result = run_->GoInto(other, {"--set", "experts.equal_steps=true", "--set", "data.test_files=[]"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* expert : {"experts/0", "experts/1"}) {
    const Json finetuning = ReadJsonFile(other / expert / "finetune.json"), &job = finetuning["job"];
    const auto rows = job["num_rows"].get<int64_t>(), batch = job["options"]["batch_size"].get<int64_t>();
    EXPECT_LT(rows, 48);
    EXPECT_EQ(batch, std::max<int64_t>(1, std::llround(4.0 * static_cast<double>(rows) / 48)));  // of 48 rows, by fours
    EXPECT_EQ(finetuning["result"]["steps"], (rows + batch - 1) / batch);
    EXPECT_EQ(ReadJsonFile(run_->run() / expert / "finetune.json")["job"]["options"]["batch_size"], 4);
  }
}

TEST_F(PipelineTest, AnswersArePerRowInOrderWithWeights) {
  int64_t row = 0;
  ForEachLine(run_->run() / "eval/ensemble.jsonl", [&](int64_t, std::string_view line) {
    const Json answer = ParseJson(line, "answers");
    EXPECT_EQ(answer["row"], row++);
    double sum = 0;
    for (const Json& w : answer["weights"]["experts"]) sum += w.get<double>();
    EXPECT_GT(sum, 0.9);
    EXPECT_LT(sum, 1.0 + 1e-9);
  });
  EXPECT_EQ(row, 20);
}

TEST_F(PipelineTest, ASecondCallChangesNothing) {
  const auto before = ResultFiles(run_->run());
  const ProgramResult again = run_->Go();
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.out, first_.out);
  EXPECT_EQ(ResultFiles(run_->run()), before);
}

TEST_F(PipelineTest, StagesOneByOneGiveTheSameRun) {
  const fs::path other = run_->folder() / "stages";
  const std::vector<std::vector<std::string>> stages = {
      {"train", "--config", run_->config()}, {"features"}, {"cluster"}, {"experts"}, {"eval"}};
  for (std::vector<std::string> stage : stages) {
    stage.insert(stage.end(), {"--run", other});
    const ProgramResult result = RunElrea(stage);
    ASSERT_EQ(result.exit_code, 0) << stage[0] << ": " << result.err;
  }
  EXPECT_EQ(ResultFiles(other), ResultFiles(run_->run()));
}

// Another length's store is that of a run of this length, made in the same pass or added to a finished run.
TEST_F(PipelineTest, FurtherFeatureLengthsAreThoseOfARunOfTheirOwn) {
  const fs::path other = run_->folder() / "length100";
  const std::string features = "features/features.safetensors";
  for (const char* stage : {"train", "features"}) {
    const ProgramResult result = RunElrea({stage, "--run", other, "--config", run_->config(), "--set",
                                           "features.projection_dim=100", "--set", "features.more_projection_dims=[]"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  const std::string own = ReadFile(other / features);
  EXPECT_EQ(ReadFile(run_->run() / "features/100/features.safetensors"), own);
  const ProgramResult more = RunElrea({"features", "--run", other, "--set", "features.more_projection_dims=[256]"});
  ASSERT_EQ(more.exit_code, 0) << more.err;
  EXPECT_EQ(ReadFile(other / "features/256/features.safetensors"), ReadFile(run_->run() / features));
  EXPECT_EQ(ReadFile(other / features), own);
}

TEST_F(PipelineTest, InspectSaysAllIsDone) {
  const ProgramResult result = RunElrea({"inspect", run_->run(), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json state = JsonLines(result.out).at(0);
  ASSERT_EQ(state["stages"].size(), 6u);
  for (const Json& stage : state["stages"]) EXPECT_EQ(stage["state"], "done") << stage.dump();
  EXPECT_NE(state["next"].get<std::string>().find("elrea chat"), std::string::npos);
}

TEST_F(PipelineTest, RouteExplainsItself) {
  const Json route = JsonLines(Ask({"route", "--prompt", "What is 12 + 30?", "--json", "--set", "routing.min_weight=0"}).out).at(0);
  double total = 0, top = -2;
  int64_t rows = 0;
  for (const Json& cluster : route["clusters"]) {
    total += cluster["weight"].get<double>();
    top = std::max(top, cluster["cosine"].get<double>());
    rows += cluster["rows"].get<int64_t>();
  }
  EXPECT_NEAR(total, 1.0, 1e-6);
  EXPECT_NEAR(route["base"]["weight"].get<double>(), 1 - top, 0.001);
  EXPECT_EQ(rows, 48);
  ASSERT_GE(route["nearest_rows"].size(), 3u);
  EXPECT_GE(route["nearest_rows"][0]["cosine"].get<double>(),
            route["nearest_rows"][1]["cosine"].get<double>());
  EXPECT_EQ(route["nearest_rows"][0]["source"], "sums");
}

TEST_F(PipelineTest, RoutingATrainingRowFindsThatRow) {
  const Json route = JsonLines(Ask({"route", "--prompt", "What is 12 + 24?", "--json"}).out).at(0);  // row 2
  EXPECT_EQ(route["nearest_rows"][0]["row"], 2);
  EXPECT_NEAR(route["nearest_rows"][0]["cosine"].get<double>(), 1.0, 1e-4);
}

TEST_F(PipelineTest, GenerateAnswersAFileInOrderWhateverTheMethod) {
  for (const char* method : {"backbone", "base", "ensemble"}) {
    const auto lines =
        JsonLines(Ask({"generate", "--method", method, "--input", run_->test(), "--json"}).out);
    ASSERT_EQ(lines.size(), 20u) << method;
    EXPECT_EQ(lines[0]["prompt"], "What is 36 + 13?");
    EXPECT_EQ(lines[0].contains("weights"), std::string(method) == "ensemble");
    EXPECT_LE(lines[0]["tokens"].size(), 6u);
    EXPECT_EQ(lines[0]["tokens"].size(), lines[0]["logprobs"].size());
  }
}

TEST_F(PipelineTest, EnsembleScoresAgreeWithItsAnswers) {
  const auto lines = JsonLines(Ask({"score", "--method", "base", "--text", "the sum of 12", "--json"}).out);
  const auto adapter = RunElrea({"score", "--model", TinyModel(), "--dtype", "f32", "--adapter",
                                 run_->run() / "base", "--text", "the sum of 12", "--json"});
  ASSERT_EQ(adapter.exit_code, 0) << adapter.err;
  EXPECT_EQ(lines.at(0), JsonLines(adapter.out).at(0));
  const auto mixed =
      JsonLines(Ask({"score", "--method", "ensemble", "--text", "the sum of 12", "--json"}).out);
  EXPECT_EQ(mixed.at(0)["tokens"], lines.at(0)["tokens"]);
  EXPECT_NE(mixed.at(0)["logprobs"], lines.at(0)["logprobs"]);
}

TEST_F(PipelineTest, ChatWorksThroughAPipe) {
  const ProgramResult result = Ask(
      {"chat"}, {.input = "What is 1 + 2?\n/weights\n/reset\nSort: b, a\n/nonsense\n/quit\nnever read\n"});
  EXPECT_NE(result.out.find("expert 0"), std::string::npos) << result.out;
  EXPECT_NE(result.err.find("starts anew"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("/quit ends"), std::string::npos) << result.err;
}

TEST_F(PipelineTest, EvalOfOneMethodOnOtherRowsPrintsJsonLines) {
  const auto lines =
      JsonLines(Ask({"eval", "--method", "base", "--input", run_->validation(), "--json"}).out);
  ASSERT_EQ(lines.size(), 8u);
  EXPECT_EQ(lines[0]["method"], "base");
  EXPECT_TRUE(lines[0]["correct"].is_boolean());
}

}  // namespace
}  // namespace elrea
