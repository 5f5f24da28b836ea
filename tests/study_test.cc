// elrea study on the tiny model: one study serves the cases.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "tests/tiny_run.h"

namespace elrea {
namespace {

class StudyTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    rows_.emplace();
    WriteFileAtomically(
        config(),
        rows_->Yaml() + fmt::format("study: {{seeds: [0, 1], answer_limit: 8, permutation_samples: 200, "
                                    "sentence_encoder: {}/tests/golden/encoder_tiny}}\n",
                                    ELREA_SOURCE_DIR));
    first_ = Go("study");
    ASSERT_EQ(first_.exit_code, 0) << first_.err;
  }
  static void TearDownTestSuite() { rows_.reset(); }

  static fs::path config() { return rows_->folder() / "study.yaml"; }
  static fs::path out(const std::string& name) { return rows_->folder() / name; }
  static ProgramResult Go(const std::string& name, std::vector<std::string> more = {},
                          const ProgramOptions& options = {}) {
    std::vector<std::string> arguments = {"study", "--config", config(), "--out", out(name)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunElrea(arguments, options);
  }
  static Json Results(const std::string& name) { return ReadJsonFile(out(name) / "results.json"); }
  static Json Method(const Json& results, const std::string& name) {
    for (const Json& method : results["methods"]) {
      if (method["name"] == name) return method;
    }
    ADD_FAILURE() << "no method " << name;
    return Json();
  }
  static std::set<std::string> Artifacts(const std::string& name) {
    std::set<std::string> folders;
    for (const auto& entry : fs::directory_iterator(out(name) / "artifacts"))
      folders.insert(entry.path().filename());
    return folders;
  }

  static inline std::optional<TinyRun> rows_;
  static inline ProgramResult first_;
};

TEST_F(StudyTest, EveryMethodHasFiguresUnderEverySeed) {
  const Json results = Results("study");
  EXPECT_GE(results["methods"].size(), 39u);
  for (const Json& method : results["methods"]) {
    SCOPED_TRACE(method["name"].get<std::string>());
    ASSERT_EQ(method["status"], "done") << method.dump();
    EXPECT_EQ(method["seeds"], Json({0, 1}));
    EXPECT_EQ(method["exact_match"]["n"], 8);
    EXPECT_EQ(method["exact_match"]["macro_by_seed"].size(), 2u);
    EXPECT_EQ(method.contains("response_loss"), method["name"] != "self_consistency");
    EXPECT_EQ(method.contains("against_base"), method["name"] != "base");
    if (method.contains("response_loss")) {
      EXPECT_EQ(method["response_loss"]["n"], 20);
    }
    EXPECT_EQ(method.contains("choices"), method["name"] != "self_consistency");
    if (method.contains("choices")) {
      EXPECT_EQ(method["choices"]["n"], 10);  // the sums
      EXPECT_EQ(method["choices"].contains("against_base"), method["name"] != "base");
    }
  }
  EXPECT_EQ(Method(results, "backbone")["cost"]["train_s"], 0.0);
  EXPECT_GT(Method(results, "ensemble")["cost"]["train_s"].get<double>(),
            Method(results, "base")["cost"]["train_s"].get<double>());
}

TEST_F(StudyTest, TheReportHoldsAllSectionsAndFindings) {
  const std::string html = ReadFile(out("study") / "report.html");
  for (const char* title : {"Results", "The ensemble against each method", "The paper&#39;s findings",
                            "Ablations and methods beyond the paper", "Curves", "The methods",
                            "Cost over the number of clusters", "Clusters and data sets", "Weights by data set of the request",
                            "Gradient features of the training rows (t-SNE)", "Routing examples", "Exact match per data set, %", "Cost",
                            "Learning curves", "How to reproduce"}) {
    EXPECT_NE(html.find(std::string("<h2>") + title), std::string::npos) << title;
  }
  for (const char* nothing : {"not shown:", "nan", "http://", "https://", "<script"}) {
    EXPECT_EQ(html.find(nothing), std::string::npos) << nothing;
  }
  const Json results = Results("study");
  EXPECT_FALSE(results["commit"].get<std::string>().empty());
  EXPECT_NE(html.find(results["commit"].get<std::string>()), std::string::npos);
  for (const Json& finding : results["findings"]) EXPECT_NE(finding["verdict"], "not measured here") << finding.dump();
  EXPECT_TRUE(results["ensemble_against"].contains("mole"));
}

// Ablations under one seed, without answers; and the features of all lengths come from one pass.
TEST_F(StudyTest, AblationsMayBeMeasuredByLossAlone) {
  const ProgramResult result =
      Go("ablations", {"--set", "study.methods=base,ensemble,d_proj_512,top_half_blocks", "--set",
                       "study.ablation_seeds=1", "--set", "study.ablation_answer_limit=none"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json results = Results("ablations");
  EXPECT_EQ(results["data"]["answered_by_ablations"], 0);
  for (const char* name : {"d_proj_512", "top_half_blocks"}) {
    const Json method = Method(results, name);
    EXPECT_EQ(method["status"], "done");
    EXPECT_EQ(method["seeds"], Json({1}));
    EXPECT_FALSE(method.contains("exact_match"));
    EXPECT_EQ(method["response_loss"]["n"], 20);
    // What the whole study found under this seed.
    EXPECT_NEAR(method["response_loss"]["by_seed"][0].get<double>(),
                Method(Results("study"), name)["response_loss"]["by_seed"][1].get<double>(), 1e-9);
  }
  EXPECT_EQ(Method(results, "ensemble")["seeds"], Json({0, 1}));
  EXPECT_EQ(result.err.find("nan"), std::string::npos);
  int64_t answers = 0;
  for (const std::string& folder : Artifacts("ablations")) answers += folder.starts_with("answers-") ? 1 : 0;
  EXPECT_EQ(answers, 4);  // base and ensemble, two seeds
}

// The base trained on rows of the same kind: its loss is lower than the backbone's, and the test says so.
TEST_F(StudyTest, ComparisonsHaveASignAndAPValue) {
  const Json backbone = Method(Results("study"), "backbone")["against_base"]["response_loss"];
  EXPECT_GT(backbone["mean"].get<double>(), 0.2);
  EXPECT_GT(backbone["interval_95"][0].get<double>(), 0);
  EXPECT_LT(backbone["p"].get<double>(), 0.02);
}

// `elrea run` with the same options and seed is another way to the same figure.
TEST_F(StudyTest, TheEnsembleIsThatOfARun) {
  const ProgramResult run = rows_->Go();
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json report = ReadJsonFile(rows_->run() / "eval/report.json");
  for (const char* name : {"backbone", "base", "ensemble"}) {
    EXPECT_NEAR(Method(Results("study"), name)["response_loss"]["by_seed"][0].get<double>(),
                report["methods"][name]["loss_nats_per_token"].get<double>(), 2e-4)
        << name;
  }
  // The backbone is the same under both seeds, so that its mean over them is the run's figure.
  const Json studied = Method(Results("study"), "backbone")["choices"], evaluated = report["methods"]["backbone"]["choices"];
  EXPECT_EQ(evaluated["micro"]["n"], 10);
  EXPECT_EQ(studied["micro"]["mean"], evaluated["micro"]["accuracy"]);
  EXPECT_NEAR(studied["loss_nats"]["mean"].get<double>(), evaluated["loss_nats"].get<double>(), 2e-4);
  EXPECT_NE(report["methods"]["base"]["choices"]["loss_nats"], evaluated["loss_nats"]);
  for (const Json& comparison : report["comparisons"]) {
    EXPECT_TRUE(comparison.contains("choices")) << comparison.dump();
  }
}

TEST_F(StudyTest, ASecondCallChangesNothing) {
  const std::set<std::string> before = Artifacts("study");
  const Json results = Results("study");
  const ProgramResult again = Go("study");
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.out, first_.out);
  EXPECT_EQ(Results("study"), results);
  EXPECT_EQ(Artifacts("study"), before);
}

// Another routing temperature needs new losses, likelihoods and answers, no training.
TEST_F(StudyTest, AChangeMakesAgainOnlyWhatDependsOnIt) {
  const std::set<std::string> before = Artifacts("study");
  const ProgramResult changed =
      Go("study", {"--set", "routing.temperature=0.5", "--set", "study.methods=base,ensemble"});
  ASSERT_EQ(changed.exit_code, 0) << changed.err;
  int64_t made = 0;
  for (const std::string& folder : Artifacts("study")) {
    if (before.contains(folder)) continue;
    ++made;
    EXPECT_TRUE(folder.starts_with("answers-") || folder.starts_with("losses-") ||
                folder.starts_with("choices-"))
        << folder;
  }
  EXPECT_EQ(made, 6);  // answers, losses and choices under two seeds
  ASSERT_EQ(Go("study").exit_code, 0);
}

// A larger rank may want smaller steps: that adapter alone is trained again.
TEST_F(StudyTest, AnotherRankMayHaveLearningRatesOfItsOwn) {
  const std::set<std::string> before = Artifacts("study");
  const ProgramResult slower =
      Go("study", {"--set", "study.methods=base,rank_64_base", "--set", "study.seeds=0", "--set",
                   "study.rank_learning_rate_factor=0.25"});
  ASSERT_EQ(slower.exit_code, 0) << slower.err;
  std::map<double, double> rate_of_rank;
  for (const std::string& folder : Artifacts("study")) {
    if (!folder.starts_with("adapter-") || before.contains(folder)) continue;
    const Json identity = ReadJsonFile(out("study") / "artifacts" / folder / "identity.json");
    rate_of_rank[identity["rank"].get<double>()] = identity["options"]["learning_rate"].get<double>();
  }
  const double base_rate = Results("study")["config"]["finetune"]["learning_rate"].get<double>();
  EXPECT_EQ(rate_of_rank, (std::map<double, double>{{64, base_rate / 4}}));
  ASSERT_EQ(Go("study").exit_code, 0);
}

// Other held-out rows need features of their own; adapters, clusters and the features of the training rows stay.
TEST_F(StudyTest, OtherHeldOutRowsTrainNothingAgain) {
  std::vector<std::string> lines = Split(ReadFile(rows_->test()), '\n');
  lines.resize(lines.size() / 2);
  WriteFileAtomically(rows_->folder() / "fewer.jsonl", Join(lines, "\n") + "\n");
  const std::set<std::string> before = Artifacts("study");
  const ProgramResult fewer =
      Go("study", {"--set", "data.test_files=" + (rows_->folder() / "fewer.jsonl").string(), "--set",
                   "study.methods=base,ensemble", "--set", "study.seeds=0", "--set", "study.answer_limit=2"});
  ASSERT_EQ(fewer.exit_code, 0) << fewer.err;
  std::map<std::string, int> made;
  for (const std::string& folder : Artifacts("study")) {
    if (!before.contains(folder)) ++made[folder.substr(0, folder.find('-'))];
  }
  EXPECT_EQ(made["features"], 1);
  EXPECT_EQ(made["adapter"], 0);
  EXPECT_EQ(made["clusters"], 0);
  EXPECT_EQ(made["losses"], 2);
  ASSERT_EQ(Go("study").exit_code, 0);
}

TEST_F(StudyTest, KilledAtAnyMomentItGoesOnToTheSameFigures) {
  const std::vector<std::string> some = {"--set", "study.methods=base,ensemble,random_clusters", "--set",
                                         "study.seeds=0"};
  ASSERT_EQ(Go("whole", some).exit_code, 0);
  for (double after_s : {0.4, 0.8, 1.2, 1.6}) Go("killed", some, {.kill_after_s = after_s});
  const ProgramResult last = Go("killed", some);
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_EQ(Artifacts("killed"), Artifacts("whole"));
  for (const char* name : {"base", "ensemble", "random_clusters"}) {
    const Json whole = Method(Results("whole"), name), killed = Method(Results("killed"), name);
    EXPECT_EQ(killed["response_loss"], whole["response_loss"]) << name;
    EXPECT_EQ(killed["exact_match"], whole["exact_match"]) << name;
    EXPECT_GT(killed["cost"]["train_s"].get<double>(), 0) << name;
    EXPECT_GT(killed["cost"]["decode_s"].get<double>(), 0) << name;
  }
}

TEST_F(StudyTest, AFailingMethodLeavesTheOthersWhole) {
  const ProgramResult result =
      Go("failing", {"--set", "study.methods=backbone,base,ensemble,per_dataset", "--set", "study.seeds=0",
                     "--set", "cluster.birch.num_clusters=1000"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json results = Results("failing");
  EXPECT_EQ(Method(results, "ensemble")["status"], "failed");
  EXPECT_NE(Method(results, "ensemble")["reason"].get<std::string>().find("num_clusters"), std::string::npos);
  EXPECT_EQ(Method(results, "per_dataset")["status"], "done");
  EXPECT_NE(result.out.find("failed: ensemble"), std::string::npos) << result.out;
}

TEST_F(StudyTest, FaultsAreFoundBeforeAnythingRuns) {
  const ProgramResult unknown = Go("bad", {"--set", "study.methods=ensembel"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(ErrorLine(unknown).find("did you mean ensemble?"), std::string::npos) << unknown.err;
  EXPECT_EQ(Go("bad", {"--set", "study.seeds=[]"}).exit_code, 2);
  EXPECT_EQ(Go("bad", {"--set", "study.ablation_answer_limit=half"}).exit_code, 2);
  EXPECT_EQ(RunElrea({"study", "--config", config()}).exit_code, 2);
  EXPECT_EQ(RunElrea({"study", "--list"}).out.find("error"), std::string::npos);
}

}  // namespace
}  // namespace elrea
