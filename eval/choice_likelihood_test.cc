// Log-probabilities of choices on a tiny random model: against full passes adapter by adapter, with the
// response's states taken over, with cached states, and through files.
#include "eval/choice_likelihood.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/expect_error.h"
#include "core/temp_dir.h"
#include "lora/testing.h"
#include "model/testing.h"

namespace elrea {
namespace {

using torch::Tensor;

class ChoiceLikelihoodTest : public testing::TestWithParam<Mixing> {
 protected:
  ChoiceLikelihoodTest()
      : decoder_(MakeTinyModel(TinyLlamaConfig(), 7)), layout_(decoder_.config(), config_) {
    for (uint64_t seed : {21, 22}) {
      adapters_.push_back(MakeRandomAdapter(decoder_.config(), config_, seed));
      loras_.push_back(std::make_unique<LoraWeights>(layout_, adapters_.back(), torch::kFloat, torch::kCPU));
    }
    rows_.push_back(Row(9, {{5}, {6}, {7}}));                    // letters
    rows_.push_back(Row(6, {{5, 8, 9}, {6}, {5, 8}, {11, 2}}));  // words; one begins like another
    rows_.push_back(Row(4, {}));                                 // no choices
  }
  static EvalRow Row(int64_t length, std::vector<std::vector<int32_t>> rest) {
    EvalRow row;
    row.prompt = RandomTokens(length, 96, static_cast<uint64_t>(length));
    row.response = {30, 31, 5, 40};
    if (rest.empty()) return row;
    row.choices = {.shared = {30, 31}, .rest = std::move(rest), .num_characters = {}, .gold = 1};
    row.choices.num_characters.assign(row.choices.rest.size(), 3);
    return row;
  }
  RowPlan Plan() const {
    return {.members = {{loras_[0].get(), 0.3}, {nullptr, 0.2}, {loras_[1].get(), 0.9}},
            .mixing = GetParam()};
  }
  Planner AlwaysPlan() {
    return [this](std::span<const int64_t> asked) {
      asked_.insert(asked_.end(), asked.begin(), asked.end());
      return std::vector<RowPlan>(asked.size(), Plan());
    };
  }
  // The formula: each token's distribution from a full pass of every member over all before it.
  double Naive(const EvalRow& row, const std::vector<int32_t>& choice) const {
    std::vector<int32_t> tokens = row.prompt;
    tokens.insert(tokens.end(), row.choices.shared.begin(), row.choices.shared.end());
    double sum = 0;
    for (int32_t token : choice) {
      Tensor mixed = torch::zeros({decoder_.config().vocab});
      double total = 0;
      for (const MixtureMember& m : Plan().members) {
        LoraMix mix({m.adapter});
        const Tensor residual = decoder_.Forward(PackRows({tokens}), &mix);
        const Tensor logits = decoder_.Logits(residual.narrow(0, residual.size(0) - 1, 1))[0];
        mixed += m.weight * (GetParam() == Mixing::kProbabilities ? torch::softmax(logits, 0) : logits);
        total += m.weight;
      }
      mixed /= total;
      sum += (GetParam() == Mixing::kProbabilities ? torch::log(mixed) : torch::log_softmax(mixed, 0))[token]
                 .item<double>();
      tokens.push_back(token);
    }
    return sum;
  }
  void ExpectNaive(const std::vector<ChoiceLogProbs>& found) const {
    ASSERT_EQ(found.size(), rows_.size());
    for (size_t i = 0; i < rows_.size(); ++i) {
      ASSERT_EQ(found[i].size(), rows_[i].choices.rest.size());
      for (size_t c = 0; c < found[i].size(); ++c)
        EXPECT_NEAR(found[i][c], Naive(rows_[i], rows_[i].choices.rest[c]), 2e-4) << i << " " << c;
    }
  }

  Decoder decoder_;
  AdapterConfig config_{.rank = 4, .alpha = 8};
  AdapterLayout layout_;
  std::vector<Adapter> adapters_;
  std::vector<std::unique_ptr<LoraWeights>> loras_;
  std::vector<EvalRow> rows_;
  std::vector<int64_t> asked_;
};

TEST_P(ChoiceLikelihoodTest, EqualsTheSumAdapterByAdapter) {
  ExpectNaive(MeasureChoices({&decoder_, rows_, "choices"}, AlwaysPlan()));
  EXPECT_EQ(asked_, (std::vector<int64_t>{0, 1}));
}

TEST_P(ChoiceLikelihoodTest, StatesOfResponsesAndOfEarlierPlansGiveTheSame) {
  HiddenCache responses, states;
  const LossJob job{&decoder_, rows_, "choices", &responses};
  MeasureLosses(job, AlwaysPlan());
  ASSERT_EQ(responses.size(), 9u);
  ExpectNaive(MeasureChoices(job, AlwaysPlan(), &states));
  EXPECT_EQ(states.size(), 3u);  // only the row of words needed passes of its own
  const LossJob alone{&decoder_, rows_, "choices"};
  HiddenCache kept;
  ExpectNaive(MeasureChoices(alone, AlwaysPlan(), &kept));
  EXPECT_EQ(kept.size(), 6u);
  for (auto& [key, tensor] : kept) tensor.zero_();  // whoever reads them now shows it
  const auto from_zeros = MeasureChoices(alone, AlwaysPlan(), &kept);
  EXPECT_GT(std::abs(from_zeros[0][0] - Naive(rows_[0], {5})), 1e-3);
}

TEST_P(ChoiceLikelihoodTest, ARowThatDoesNotFitIsNotScored) {
  rows_[0].prompt.resize(static_cast<size_t>(decoder_.config().context_length) - 2, 3);
  const auto found = MeasureChoices({&decoder_, rows_, "choices"}, AlwaysPlan());
  EXPECT_TRUE(found[0].empty());
  EXPECT_FALSE(JudgeChoices(rows_[0].choices, found[0]).has_value());
  EXPECT_EQ(found[1].size(), 4u);
}

INSTANTIATE_TEST_SUITE_P(Mixings, ChoiceLikelihoodTest,
                         testing::Values(Mixing::kLogits, Mixing::kProbabilities));

EvalChoices Words() {
  return {.shared = {1}, .rest = {{2}, {3, 4}, {5, 6, 7}}, .num_characters = {2, 4, 20}, .gold = 2};
}

TEST(Choices, TheNormDecides) {
  const ChoiceLogProbs log_probs = {-2, -3, -3.9};
  EXPECT_EQ(LikeliestChoice(Words(), log_probs, ChoiceNorm::kSum), 0);
  EXPECT_EQ(LikeliestChoice(Words(), log_probs, ChoiceNorm::kPerToken), 2);      // -2, -1.5, -1.3
  EXPECT_EQ(LikeliestChoice(Words(), log_probs, ChoiceNorm::kPerCharacter), 2);  // -1, -0.75, -0.195
  EXPECT_EQ(LikeliestChoice(Words(), {-1, -1, -1}, ChoiceNorm::kSum), 0);
  const double total = std::exp(-2) + std::exp(-3) + std::exp(-3.9);
  EXPECT_NEAR(ChoiceLoss(Words(), log_probs), -std::log(std::exp(-3.9) / total), 1e-12);
  EXPECT_NEAR(ChoiceLoss(Words(), {-2000, -2000, -2000}), std::log(3.0), 1e-12);
  const auto outcome = JudgeChoices(Words(), log_probs);
  EXPECT_FALSE(outcome->by_sum);
  EXPECT_TRUE(outcome->per_token);
}

TEST(Choices, FilesRoundTripAndOthersAreRefused) {
  const TempDir dir;
  std::vector<EvalRow> rows(2);
  rows[0].choices = Words();
  WriteChoices(dir / "c.json", {{-1, -2, -3.5}, {}});
  EXPECT_EQ(ReadChoices(dir / "c.json", rows), (std::vector<ChoiceLogProbs>{{-1, -2, -3.5}, {}}));
  rows[0].choices.rest.pop_back();
  ExpectError(ErrorKind::kCorrupt, {"c.json", "delete this file"},
              [&] { ReadChoices(dir / "c.json", rows); });
  rows.pop_back();
  ExpectError(ErrorKind::kCorrupt, {"c.json"}, [&] { ReadChoices(dir / "c.json", rows); });
}

TEST(Choices, TheKeyTellsThemApart) {
  const std::string key = ChoicesKey(Words());
  EvalChoices other = Words();
  other.gold = 1;
  EXPECT_NE(ChoicesKey(other), key);
  other = Words();
  other.rest[1] = {3, 5};
  EXPECT_NE(ChoicesKey(other), key);
  EXPECT_EQ(ChoicesKey(Words()), key);
}

}  // namespace
}  // namespace elrea
