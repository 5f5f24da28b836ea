#include "train/batches.h"

#include <gtest/gtest.h>

#include <set>

#include "train/optimizer.h"

namespace elrea {
namespace {

class BatchesTest : public testing::Test {
 protected:
  BatchesTest() {
    for (int64_t i = 0; i < 103; ++i) {
      TokenRow row;
      row.tokens = std::vector<int32_t>(static_cast<size_t>(3 + (i * 37) % 40), static_cast<int32_t>(i));
      row.num_prompt = 2;
      storage_.push_back(row);
    }
    for (const TokenRow& row : storage_) rows_.push_back(&row);
  }
  std::vector<TokenRow> storage_;
  RowList rows_;
};

TEST_F(BatchesTest, EveryRowOnceInBatchesOfTheGivenSize) {
  auto batches = EpochBatches(rows_, 16, 3, 5, 0);
  EXPECT_EQ(batches.size(), 7u);
  std::multiset<int64_t> seen;
  size_t small = 0;
  for (const auto& batch : batches) {
    seen.insert(batch.begin(), batch.end());
    small += batch.size() != 16;
  }
  EXPECT_EQ(seen.size(), 103u);
  EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), 103u);
  EXPECT_LE(small, 1u);
}

TEST(BatchSize, APartOfTheRowsTakesAsManyStepsAsAll) {
  EXPECT_EQ(BatchForEqualSteps(16, 1000, 1000), 16);
  EXPECT_EQ(BatchForEqualSteps(16, 250, 1000), 4);
  EXPECT_EQ(BatchForEqualSteps(8, 200, 1000), 2);  // 1.6
  EXPECT_EQ(BatchForEqualSteps(8, 3, 1000), 1);    // less than a row is none
}

TEST_F(BatchesTest, OrderIsAFunctionOfSeedAndEpoch) {
  EXPECT_EQ(EpochBatches(rows_, 16, 3, 5, 0), EpochBatches(rows_, 16, 3, 5, 0));
  EXPECT_NE(EpochBatches(rows_, 16, 3, 5, 0), EpochBatches(rows_, 16, 3, 5, 1));
  EXPECT_NE(EpochBatches(rows_, 16, 3, 5, 0), EpochBatches(rows_, 16, 3, 6, 0));
}

TEST_F(BatchesTest, BucketsBringRowsOfLikeLengthTogether) {
  auto spread = [&](int64_t bucket) {
    size_t total = 0;
    for (const auto& batch : EpochBatches(rows_, 16, bucket, 5, 0)) {
      size_t low = 1000, high = 0;
      for (int64_t i : batch) {
        low = std::min(low, rows_[i]->tokens.size());
        high = std::max(high, rows_[i]->tokens.size());
      }
      total += high - low;
    }
    return total;
  };
  EXPECT_LT(spread(7), spread(1) / 2);
}

TEST_F(BatchesTest, PassesHoldAllRowsInOrderWithinTheLimit) {
  RowList joined;
  for (const RowList& pass : SplitIntoPasses(rows_, 100)) {
    size_t tokens = 0;
    for (const TokenRow* row : pass) tokens += row->tokens.size();
    EXPECT_LE(tokens, 100u);
    joined.insert(joined.end(), pass.begin(), pass.end());
  }
  EXPECT_EQ(joined, rows_);
  EXPECT_EQ(SplitIntoPasses(rows_, 1).size(), rows_.size());  // a row longer than the limit runs alone
}

TEST_F(BatchesTest, ResponseTargetsPredictTheTokensAfterThePrompt) {
  TokenRow a{{10, 11, 12, 13}, 2, 0}, b{{20, 21, 22}, 1, 0};
  LossBatch batch = ResponseBatch({&a, &b}, 0.25f);
  EXPECT_EQ(batch.packed.offsets, (std::vector<int64_t>{0, 4, 7}));
  auto list = [](const torch::Tensor& t) {
    return std::vector<int64_t>(t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel());
  };
  EXPECT_EQ(list(batch.targets.positions), (std::vector<int64_t>{1, 2, 4, 5}));
  EXPECT_EQ(list(batch.targets.targets), (std::vector<int64_t>{12, 13, 21, 22}));
  EXPECT_EQ(batch.target_offsets, (std::vector<int64_t>{0, 2, 4}));
  EXPECT_EQ(batch.targets.weights[0].item<float>(), 0.25f);
  EXPECT_EQ(NumResponseTokens({&a, &b}), 4);
}

TEST(OptimizerTest, ThreeStepsEqualTheFormulaInDouble) {
  AdamOptions options{.weight_decay = 0.1};
  torch::Tensor params = torch::tensor({1.0f, -2.0f, 0.5f});
  AdamState state = MakeAdamState(3);
  std::vector<double> p = {1, -2, 0.5}, m(3), v(3);
  for (int n = 1; n <= 3; ++n) {
    std::vector<float> g = {0.1f * n, -0.3f, 1e-6f};
    AdamStep(options, 0.01, torch::tensor(g), params, state);
    for (int i = 0; i < 3; ++i) {
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
      p[i] -= 0.01 * 0.1 * p[i];
      p[i] -= 0.01 * (m[i] / (1 - std::pow(0.9, n))) / (std::sqrt(v[i] / (1 - std::pow(0.999, n))) + 1e-8);
      EXPECT_NEAR(params[i].item<float>(), p[i], 2e-6) << "step " << n;
    }
  }
  EXPECT_EQ(state.steps, 3);
}

TEST(OptimizerTest, ScheduleWarmsUpAndDecaysToZero) {
  EXPECT_DOUBLE_EQ(LinearSchedule(1, 0, 0, 10), 1);
  EXPECT_DOUBLE_EQ(LinearSchedule(1, 0, 9, 10), 0.1);
  EXPECT_DOUBLE_EQ(LinearSchedule(1, 0.2, 0, 10), 0.5);
  EXPECT_DOUBLE_EQ(LinearSchedule(1, 0.2, 1, 10), 1);
  EXPECT_DOUBLE_EQ(LinearSchedule(1, 0.2, 6, 10), 0.5);
}

}  // namespace
}  // namespace elrea
