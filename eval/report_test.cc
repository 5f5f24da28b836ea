#include "eval/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace elrea {
namespace {

MethodAnswers Answers(const std::string& method, const std::string& with, const std::vector<int>& correct) {
  MethodAnswers answers{method, with, {}, {}};
  for (size_t i = 0; i < correct.size(); ++i) {
    Prediction p;
    p.row = static_cast<int64_t>(i);
    p.source = i < 4 ? "sums" : "words";
    p.correct = correct[i] != 0;
    answers.predictions.push_back(p);
  }
  return answers;
}

TEST(Report, CountsPerSourceAndAverages) {
  const EvalReport r = SummariseAnswers({Answers("base", "backbone", {1, 1, 1, 0, 0, 0})}, {1000, 1});
  ASSERT_EQ(r.sources, (std::vector<std::string>{"sums", "words"}));
  EXPECT_EQ(r.scores[0].by_source[0].correct, 3);
  EXPECT_EQ(r.scores[0].by_source[0].n, 4);
  EXPECT_DOUBLE_EQ(r.scores[0].micro.accuracy, 0.5);
  EXPECT_DOUBLE_EQ(r.scores[0].macro.mean, 0.375);
  EXPECT_TRUE(r.comparisons.empty());  // nothing to compare with in this report
  EXPECT_FALSE(r.scores[0].loss.has_value());
}

TEST(Report, ComparesRowByRow) {
  MethodAnswers backbone = Answers("backbone", "", {1, 0, 0, 0, 0, 0});
  MethodAnswers base = Answers("base", "backbone", {0, 1, 1, 0, 0, 1});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  backbone.losses = {1, 2, 3, 4, 5, nan};
  base.losses = {0.5, 1.5, 2.5, 3.5, 4.5, nan};
  const EvalReport r = SummariseAnswers({backbone, base}, {1000, 1});
  ASSERT_EQ(r.comparisons.size(), 1u);
  const Comparison& c = r.comparisons[0];
  EXPECT_EQ(c.gained, 3);
  EXPECT_EQ(c.lost, 1);
  EXPECT_NEAR(c.micro.mean, 2.0 / 6, 1e-12);
  EXPECT_NEAR(c.macro.mean, (1.0 / 4 + 1.0 / 2) / 2, 1e-12);
  EXPECT_LT(c.micro.interval.low, c.micro.mean);
  EXPECT_GT(c.micro.interval.high, c.micro.mean);
  EXPECT_NEAR(c.loss->mean, -0.5, 1e-12);
  EXPECT_NEAR(*r.scores[0].loss, 3.0, 1e-12);
}

TEST(Report, SaysTheSameInTextAndJson) {
  const EvalReport r = SummariseAnswers(
      {Answers("backbone", "", {1, 0, 0, 0, 0, 0}), Answers("base", "backbone", {1, 1, 1, 0, 0, 1})},
      {1000, 1});
  const std::string text = ReportText(r);
  const Json json = ReportJson(r);
  EXPECT_NE(text.find("on 6 held-out rows"), std::string::npos) << text;
  EXPECT_NE(text.find("75.0 [30.1,  95.4]"), std::string::npos) << text;  // sums under base, 3 of 4
  EXPECT_NE(text.find("base - backbone"), std::string::npos) << text;
  EXPECT_EQ(json["methods"]["base"]["sources"]["sums"]["correct"], 3);
  EXPECT_EQ(json["methods"]["base"]["micro"]["n"], 6);
  EXPECT_EQ(json["comparisons"][0]["gained"], 3);
}

TEST(Report, ChoicesAreScoredOnRowsThatHaveThem) {
  const auto outcome = [](bool right, double loss) { return ChoiceOutcome{right, !right, true, loss}; };
  MethodAnswers backbone = Answers("backbone", "", {0, 0, 0, 0, 0, 0}), base = Answers("base", "backbone", {0, 0, 0, 0, 0, 0});
  backbone.choices = {outcome(true, 1), outcome(false, 2), {}, {}, {}, outcome(false, 3)};
  base.choices = {outcome(true, 0.5), outcome(true, 0.5), {}, {}, {}, outcome(false, 2)};
  const EvalReport r = SummariseAnswers({backbone, base}, {1000, 1});
  const ChoiceScore& score = *r.scores[0].choices;
  EXPECT_EQ(score.micro.n, 3);
  EXPECT_EQ(score.micro.correct, 1);
  EXPECT_EQ(score.by_source.at("sums").n, 2);
  EXPECT_EQ(score.by_source.at("words").n, 1);
  EXPECT_NEAR(score.macro.mean, (0.5 + 0) / 2, 1e-12);
  EXPECT_NEAR(score.per_token, 2.0 / 3, 1e-12);
  EXPECT_NEAR(score.per_character, 1, 1e-12);
  EXPECT_NEAR(score.loss, 2, 1e-12);
  EXPECT_NEAR(r.comparisons[0].choice_macro->mean, (0.5 + 0) / 2, 1e-12);
  EXPECT_NEAR(r.comparisons[0].choice_loss->mean, -1, 1e-12);
  const std::string text = ReportText(r);
  EXPECT_NE(text.find("Likeliest choice in per cent"), std::string::npos) << text;
  EXPECT_NE(text.find("2.0000"), std::string::npos) << text;  // the mean loss of the backbone
  EXPECT_EQ(ReportJson(r)["methods"]["base"]["choices"]["micro"]["correct"], 2);
  EXPECT_FALSE(ReportJson(SummariseAnswers({Answers("base", "", {1})}, {10, 1}))["methods"]["base"].contains("choices"));
}

TEST(Report, NamesRowsThatDidNotFit) {
  MethodAnswers backbone = Answers("backbone", "", {1, 0, 0, 0, 0, 0});
  backbone.predictions[2].finish_reason = "over_long";
  const EvalReport r = SummariseAnswers({backbone}, {10, 1});
  EXPECT_EQ(r.num_over_long, 1);
  EXPECT_NE(ReportText(r).find("1 rows have a prompt longer"), std::string::npos);
}

}  // namespace
}  // namespace elrea
