#include "study/findings.h"

#include <gtest/gtest.h>

#include "study/summary.h"
#include "study/testing.h"

namespace elrea {
namespace {

constexpr SummaryOptions kFew = {.bootstrap_samples = 500, .permutation_samples = 500, .seed = 1};

// Ten rows whose losses are all `mean` up to a little that differs from row to row; no answers.
MethodRecord Losses(const std::string& name, double mean, int64_t num_seeds = 1) {
  std::map<int64_t, MethodOutcome> outcomes;
  for (int64_t seed = 0; seed < num_seeds; ++seed) {
    std::vector<double> losses;
    for (int i = 0; i < 10; ++i) losses.push_back(mean + 0.1 * i);
    outcomes[seed] = OutcomeOf({}, losses);
  }
  return RecordOf(name, std::move(outcomes));
}

// A difference that goes up and down with the rows and is zero on average.
MethodRecord Noise(const std::string& name, double mean) {
  MethodRecord record = Losses(name, mean);
  auto& losses = record.outcomes[0].losses;
  for (size_t i = 0; i < losses.size(); ++i) losses[i] += i % 2 == 0 ? 0.2 : -0.2;
  return record;
}

Finding About(const std::vector<MethodRecord>& records, const std::string& words, int64_t rank = 8) {
  for (const Finding& finding : Findings(records, rank, kFew)) {
    if (finding.claim.find(words) != std::string::npos) return finding;
  }
  ADD_FAILURE() << "no finding about " << words;
  return {};
}

TEST(Findings, AreConfirmedByAnIntervalOnThePapersSide) {
  const Finding finding = About({Losses("base", 2.0), Losses("ensemble", 1.9)}, "than the base adapter");
  EXPECT_EQ(finding.verdict, Verdict::kConfirmed);
  EXPECT_NE(finding.evidence.find("-0.1000"), std::string::npos) << finding.evidence;
  EXPECT_NE(finding.evidence.find("n=10"), std::string::npos) << finding.evidence;
}

TEST(Findings, TheOtherSideOrNoSideIsNotConfirmed) {
  const Finding other = About({Losses("ensemble", 2.0), Losses("random_clusters", 1.9)}, "Random clusters");
  EXPECT_EQ(other.verdict, Verdict::kNotConfirmed);
  EXPECT_NE(other.evidence.find("the other way round"), std::string::npos) << other.evidence;
  const Finding none = About({Losses("ensemble", 2.0), Noise("random_clusters", 2.0)}, "Random clusters");
  EXPECT_EQ(none.verdict, Verdict::kNotConfirmed);
  EXPECT_NE(none.evidence.find("no difference"), std::string::npos) << none.evidence;
}

// Of three rows that all gain alike the bootstrap's interval is a point; no permutation of so few is surprising.
TEST(Findings, AnIntervalAloneConfirmsNothing) {
  const Finding finding = About({RecordOf("base", {{0, OutcomeOf({}, {2.0, 2.1, 2.2})}}),
                                 RecordOf("ensemble", {{0, OutcomeOf({}, {1.9, 2.0, 2.1})}})},
                                "than the base adapter");
  EXPECT_EQ(finding.verdict, Verdict::kNotConfirmed);
  EXPECT_NE(finding.evidence.find("no difference that these rows show"), std::string::npos) << finding.evidence;
}

TEST(Findings, MeasuresThatDisagreeConfirmNothing) {
  MethodRecord base = RecordOf("base", {{0, OutcomeOf({1, 1, 1, 1, 1, 1, 1, 1}, {2, 2, 2, 2, 2, 2, 2, 2})}});
  MethodRecord ensemble = RecordOf("ensemble", {{0, OutcomeOf({0, 0, 0, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 1, 1, 1})}});
  const Finding finding = About({base, ensemble}, "than the base adapter");
  EXPECT_EQ(finding.verdict, Verdict::kNotConfirmed);
  EXPECT_NE(finding.evidence.find("disagree"), std::string::npos) << finding.evidence;
}

TEST(Findings, WhatDidNotRunIsNamed) {
  const Finding finding = About({Losses("ensemble", 2.0)}, "Random clusters");
  EXPECT_EQ(finding.verdict, Verdict::kNotMeasured);
  EXPECT_NE(finding.evidence.find("random_clusters"), std::string::npos) << finding.evidence;
}

// Rank 8 gains 0.3, rank 64 gains 0.1, under the one seed that both have.
TEST(Findings, GainsAtTwoRanksAreComparedRowByRow) {
  const std::vector<MethodRecord> records = {Losses("base", 2.0, 2), Losses("ensemble", 1.7, 2),
                                             Losses("rank_64_base", 1.8), Losses("rank_64", 1.7)};
  const Finding finding = About(records, "rank 64");
  EXPECT_EQ(finding.verdict, Verdict::kConfirmed);
  EXPECT_NE(finding.evidence.find("-0.2000"), std::string::npos) << finding.evidence;
  EXPECT_EQ(About({records[0], records[1]}, "rank 64").verdict, Verdict::kNotMeasured);
  EXPECT_EQ(About(records, "rank 64", 64).verdict, Verdict::kNotMeasured);
  EXPECT_EQ(About({Losses("base", 2.0), Losses("ensemble", 1.9), Losses("rank_64_base", 1.8), Losses("rank_64", 1.5)},
                  "rank 64")
                .verdict,
            Verdict::kNotConfirmed);
}

TEST(Findings, FewExpertsAreEnoughWhenTwoKeepHalfOfTheGain) {
  const MethodRecord base = Losses("base", 2.0, 2), ensemble = Losses("ensemble", 1.8, 2);
  EXPECT_EQ(About({base, ensemble, Losses("top_2", 1.85)}, "Few experts").verdict, Verdict::kConfirmed);
  EXPECT_EQ(About({base, ensemble, Losses("top_2", 1.95)}, "Few experts").verdict, Verdict::kNotConfirmed);
  EXPECT_EQ(About({base, Losses("ensemble", 2.1), Losses("top_2", 2.1)}, "Few experts").verdict,
            Verdict::kNotConfirmed);  // no gain that could be kept
}

TEST(EnsembleAgainst, ComparesWithCentralMethodsThatRan) {
  MethodRecord ablation = Losses("top_1", 1.0), failed = RecordOf("mole", {});
  ablation.origin = "ablation";
  MethodRecord control = Losses("continued_base", 1.8);
  control.origin = "control";
  const auto rivals = EnsembleAgainst({Losses("base", 2.0), Losses("ensemble", 1.9), control, ablation, failed}, kFew);
  ASSERT_EQ(rivals.size(), 2u);
  EXPECT_EQ(rivals[1].name, "continued_base");
  EXPECT_NEAR(rivals[1].comparison.loss->value.mean, 0.1, 1e-12);
  EXPECT_EQ(rivals[0].name, "base");
  EXPECT_NEAR(rivals[0].comparison.loss->value.mean, -0.1, 1e-12);
  EXPECT_FALSE(rivals[0].comparison.macro.has_value());
}

}  // namespace
}  // namespace elrea
