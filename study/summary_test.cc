#include "study/summary.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "core/expect_error.h"
#include "study/report_tables.h"
#include "study/testing.h"

namespace elrea {
namespace {

constexpr SummaryOptions kFew = {.bootstrap_samples = 500, .permutation_samples = 500, .seed = 1};

TEST(Summary, AveragesRowsOverSeedsAndComparesThemPairwise) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto s = Summarise({RecordOf("base", {{0, OutcomeOf({1, 0, 0, 0, 0, 0}, {1, 2, 3, 4, 5, nan})},
                                            {1, OutcomeOf({1, 1, 0, 0, 0, 1}, {3, 2, 3, 4, 5, nan})}}),
                            RecordOf("ensemble", {{0, OutcomeOf({1, 1, 0, 0, 1, 0}, {0, 1, 2, 3, 4, nan})},
                                                {1, OutcomeOf({1, 1, 0, 0, 1, 1}, {2, 1, 2, 3, 4, nan})}})},
                           kFew);
  ASSERT_EQ(s.size(), 2u);
  EXPECT_NEAR(s[0].micro->mean, 4.0 / 12, 1e-12);
  EXPECT_NEAR(s[0].macro->mean, (3.0 / 8 + 1.0 / 4) / 2, 1e-12);
  EXPECT_NEAR(s[0].by_source.at("words").mean, 0.25, 1e-12);
  EXPECT_FALSE(s[0].micro_gain.has_value());
  EXPECT_NEAR(s[1].micro_gain->value.mean, 3.0 / 12, 1e-12);
  EXPECT_NEAR(s[1].relative_gain->mean, (7.0 - 4.0) / 4.0, 1e-12);
  EXPECT_NEAR(s[1].relative_loss->mean, -5.0 / 16, 1e-12);
  EXPECT_LT(s[1].relative_loss->interval.high, 0);
  EXPECT_EQ(s[0].by_source.at("words").n, 2);
  EXPECT_NEAR(s[1].loss_change->value.mean, -1.0, 1e-12);
  EXPECT_EQ(s[1].loss_change->n, 5);  // the row that did not fit is left out
  EXPECT_EQ(s[1].num_losses, 5);
  EXPECT_LT(s[1].loss_change->p, 0.12);  // 2 of 2^5 exchanges
  EXPECT_EQ(s[1].seed_micro, (std::vector<double>{0.5, 4.0 / 6}));
  EXPECT_EQ(s[1].train_s, 10);
}

TEST(Summary, ChoicesAreComparedRowByRow) {
  const auto with = [](std::vector<std::pair<bool, double>> rows) {
    MethodOutcome outcome = OutcomeOf({0, 0}, {1, 1});
    for (size_t i = 0; i < rows.size(); ++i)
      outcome.choices.push_back({static_cast<int64_t>(i), i < 2 ? "mmlu" : "bbh", {rows[i].first, false, true, rows[i].second}});
    return outcome;
  };
  const auto s = Summarise({RecordOf("base", {{0, with({{true, 1}, {false, 2}, {false, 1}})}, {1, with({{false, 1}, {false, 2}, {false, 1}})}}),
                            RecordOf("ensemble", {{0, with({{true, 0}, {true, 1}, {false, 1}})}, {1, with({{true, 1}, {true, 1}, {false, 1}})}}),
                            RecordOf("votes", {{0, OutcomeOf({0, 0}, {1, 1})}})},
                           kFew);
  EXPECT_EQ(s[0].choices->n, 3);
  EXPECT_NEAR(s[0].choices->micro.mean, 0.5 / 3, 1e-12);
  EXPECT_NEAR(s[0].choices->macro.mean, 0.25 / 2, 1e-12);
  EXPECT_NEAR(s[1].choices->macro_gain->value.mean, (0.75 - 0) / 2, 1e-12);
  EXPECT_NEAR(s[1].choices->micro_gain->value.mean, 1.5 / 3, 1e-12);
  EXPECT_NEAR(s[1].choices->loss_change->value.mean, (-0.5 - 1 + 0) / 3, 1e-12);
  EXPECT_EQ(s[1].choices->loss_change->n, 3);
  EXPECT_FALSE(s[0].choices->macro_gain.has_value());
  EXPECT_FALSE(s[2].choices.has_value());
  const Json json = SummaryJson(s[1]);
  EXPECT_EQ(json["choices"]["n"], 3);
  EXPECT_NEAR(json["choices"]["sources"]["mmlu"]["mean"].get<double>(), 1, 1e-12);
  EXPECT_NE(SummaryText(s).find("By likelihood of the choices"), std::string::npos);
  EXPECT_EQ(SummaryText({s[2]}).find("likelihood"), std::string::npos);
}

// A seed that only one of the two has does not enter the difference.
TEST(Summary, ComparesOnCommonSeedsOnly) {
  const auto s = Summarise({RecordOf("base", {{0, OutcomeOf({1, 0}, {1, 1})}, {1, OutcomeOf({0, 0}, {9, 9})}}),
                            RecordOf("ensemble", {{0, OutcomeOf({1, 1}, {0.5, 0.5})}})},
                           kFew);
  EXPECT_NEAR(s[1].micro_gain->value.mean, 0.5, 1e-12);
  EXPECT_NEAR(s[1].loss_change->value.mean, -0.5, 1e-12);
}

// An ablation that answers rows 2 and 4 only, and one that answers none.
TEST(Summary, MethodsWithFewerOrNoAnswersAreComparedOnWhatTheyHave) {
  MethodOutcome few = OutcomeOf({0, 0, 1, 0, 1, 0}, {0.5, 1});
  std::erase_if(few.predictions, [](const Prediction& p) { return p.row != 2 && p.row != 4; });
  MethodOutcome none = OutcomeOf({}, {0, 1});
  const auto s = Summarise({RecordOf("base", {{0, OutcomeOf({1, 1, 1, 1, 0, 0}, {1, 2})}}),
                            RecordOf("top_1", {{0, few}}), RecordOf("top_2", {{0, none}})},
                           kFew);
  EXPECT_EQ(s[1].num_answered, 2);
  EXPECT_EQ(s[1].micro_gain->n, 2);
  EXPECT_NEAR(s[1].micro_gain->value.mean, 0.5, 1e-12);  // right on 4, where base is not; both right on 2
  EXPECT_NEAR(s[1].relative_gain->mean, 1.0, 1e-12);
  EXPECT_EQ(s[2].num_answered, 0);
  EXPECT_FALSE(s[2].micro || s[2].macro || s[2].micro_gain);
  EXPECT_NEAR(s[2].loss_change->value.mean, -1.0, 1e-12);
  const Json json = SummaryJson(s[2]);
  EXPECT_FALSE(json.contains("exact_match") || json["cost"].contains("decode_s"));
  EXPECT_NEAR(json["against_base"]["response_loss"]["mean"].get<double>(), -1.0, 1e-12);
  const std::string text = SummaryText(s);
  EXPECT_EQ(text.find("nan"), std::string::npos) << text;
}

TEST(StudyOptions, AblationsAnswerSomeOfTheCentralRows) {
  const StudyOptions options{
      .seeds = {0, 1}, .ablation_seeds = {1}, .answer_limit = 4, .ablation_answer_limit = "2"};
  EXPECT_EQ(StudyAnsweredRows(options, true, 20), (std::vector<int64_t>{0, 5, 10, 15}));
  EXPECT_EQ(StudyAnsweredRows(options, false, 20), (std::vector<int64_t>{0, 10}));
  EXPECT_TRUE(StudyAnsweredRows({.ablation_answer_limit = "none"}, false, 20).empty());
  EXPECT_EQ(StudyAnsweredRows({.ablation_answer_limit = "same"}, false, 20).size(), 20u);
  EXPECT_EQ(StudySeeds(options, true).size(), 2u);
  EXPECT_EQ(StudySeeds(options, false), (std::vector<int64_t>{1}));
}

TEST(StudyOptions, WhatCannotBeIsNamed) {
  ExpectError(ErrorKind::kInvalidInput, {"ablation_answer_limit", "some"},
              [] { CheckStudyOptions({.ablation_answer_limit = "some"}); });
  ExpectError(ErrorKind::kInvalidInput, {"ablation_answer_limit"},
              [] { CheckStudyOptions({.ablation_answer_limit = "0"}); });
  ExpectError(ErrorKind::kInvalidInput, {"study.ablation_seeds: 7"}, [] {
    CheckStudyOptions({.ablation_seeds = {0, 7}});
  });
  ExpectError(ErrorKind::kInvalidInput, {"study.seeds"}, [] { CheckStudyOptions({.seeds = {}}); });
}

TEST(Summary, AFailedMethodKeepsItsReasonInTextAndJson) {
  MethodRecord failed = RecordOf("ensemble", {});
  failed.failure = "seed 0: no rows";
  const auto s = Summarise({RecordOf("base", {{0, OutcomeOf({1, 0}, {1, 1})}}), failed}, kFew);
  EXPECT_EQ(SummaryJson(s[1])["status"], "failed");
  EXPECT_EQ(SummaryJson(s[1])["reason"], "seed 0: no rows");
  EXPECT_NE(SummaryText(s).find("failed: ensemble: seed 0: no rows"), std::string::npos);
  EXPECT_EQ(SummaryJson(s[0])["exact_match"]["n"], 2);
}

// One seed of two failed: the figures of the other stand, and the reason beside them.
TEST(Summary, AnIncompleteMethodKeepsFiguresAndReason) {
  MethodRecord half = RecordOf("ensemble", {{0, OutcomeOf({1, 1, 0, 0, 1}, {1, 1, 1, 1, 1})}});
  half.failure = "seed 1: the disk is full";
  const auto s = Summarise({RecordOf("base", {{0, OutcomeOf({1, 0, 0, 0, 0}, {1, 2, 2, 2, 2})}}), half}, kFew);
  EXPECT_EQ(SummaryJson(s[1])["status"], "incomplete");
  EXPECT_EQ(SummaryJson(s[1])["reason"], "seed 1: the disk is full");
  EXPECT_TRUE(SummaryJson(s[1]).contains("response_loss"));
  EXPECT_NE(SummaryText(s).find("incomplete: ensemble: seed 1: the disk is full"), std::string::npos);
  EXPECT_NE(ResultsTable(s).find("ensemble is incomplete: seed 1: the disk is full"), std::string::npos);
}

// Rows 0 and 1 belong to one task, row 4 to another, the others to none.
TEST(Summary, TasksAreThePartsThatRowsSay) {
  MethodOutcome outcome = OutcomeOf({1, 0, 0, 0, 1}, {1, 2, 2, 2, 2});
  for (size_t i : {0, 1, 4}) outcome.predictions[i].task = i < 4 ? "sums/short" : "words/long";
  outcome.choices = {{0, "sums", {true, true, true, 0.5}, "sums/short"}, {2, "sums", {false, true, true, 0.5}, ""}};
  const auto s = Summarise({RecordOf("base", {{0, outcome}})}, kFew);
  ASSERT_EQ(s[0].by_task.size(), 2u);
  EXPECT_EQ(s[0].by_task.at("sums/short").mean, 0.5);
  EXPECT_EQ(s[0].by_task.at("sums/short").n, 2);
  const Json json = SummaryJson(s[0]);
  EXPECT_EQ(json["exact_match"]["tasks"]["words/long"]["mean"], 1.0);
  EXPECT_EQ(json["choices"]["tasks"]["sums/short"]["n"], 1);
  EXPECT_NE(TaskTable(s).find("sums/short"), std::string::npos);
  EXPECT_EQ(TaskTable(Summarise({RecordOf("base", {{0, OutcomeOf({1}, {1})}})}, kFew)), "");
}

TEST(Summary, SourcesOfFewRowsAreNamed) {
  const auto s = Summarise({RecordOf("base", {{0, OutcomeOf({1, 0, 0, 0, 0}, {1, 2, 2, 2, 2})}})}, kFew);
  EXPECT_NE(SummaryText(s).find("words (n=1)"), std::string::npos) << SummaryText(s);
  EXPECT_NE(SummaryText(s).find("Fewer than 5 answered rows: sums, words."), std::string::npos);
  EXPECT_NE(SourceTable(s).find("Fewer than 5 answered rows"), std::string::npos);
  EXPECT_EQ(SummaryJson(s[0])["exact_match"]["sources"]["sums"]["n"], 4);
  EXPECT_EQ(FewRowsText({{"many", {{}, 5}}}), "");
}

// p is 2 of 2^4: the interval alone would colour it.
TEST(Summary, ADifferenceIsShownWhereIntervalAndPAgree) {
  const auto s = Summarise(
      {RecordOf("base", {{0, OutcomeOf({}, {2, 2, 2, 2})}}), RecordOf("ensemble", {{0, OutcomeOf({}, {1, 1, 1, 1})}})}, kFew);
  EXPECT_LT(s[1].loss_change->value.interval.high, 0);
  EXPECT_EQ(ShownSide(*s[1].loss_change), 0);
  EXPECT_EQ(ResultsTable(s).find("better"), std::string::npos);
  PairedDifference clear = *s[1].loss_change;
  clear.p = 0.01;
  EXPECT_EQ(ShownSide(clear), -1);
}

TEST(StudyMethods, AreNamedOnceAndAnUnknownOneIsAnErrorWithTheNearest) {
  std::set<std::string> names;
  for (const StudyMethod& method : StudyMethods()) {
    EXPECT_TRUE(names.insert(method.name).second) << method.name;
    EXPECT_FALSE(method.help.empty()) << method.name;
    EXPECT_EQ(&FindStudyMethod(method.name), &method);
  }
  ExpectError(ErrorKind::kInvalidInput, {"unknown method moe_rooting", "moe_routing"},
              [] { FindStudyMethod("moe_rooting"); });
}

}  // namespace
}  // namespace elrea
