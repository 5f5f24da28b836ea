#include "train/batches.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/rng.h"

namespace elrea {

std::vector<std::vector<int64_t>> EpochBatches(const RowList& rows, int64_t batch_size, int64_t bucket_batches,
                                               uint64_t seed, int64_t epoch) {
  auto n = static_cast<int64_t>(rows.size());
  std::vector<int64_t> order = RandomPermutation(n, seed, static_cast<uint64_t>(2 * epoch));
  int64_t bucket = batch_size * bucket_batches;
  auto longer = [&](int64_t a, int64_t b) { return rows[a]->tokens.size() > rows[b]->tokens.size(); };
  for (int64_t begin = 0; begin < n; begin += bucket) {
    std::stable_sort(order.begin() + begin, order.begin() + std::min(n, begin + bucket), longer);
  }
  std::vector<std::vector<int64_t>> batches;
  for (int64_t begin = 0; begin < n; begin += batch_size) {
    batches.emplace_back(order.begin() + begin, order.begin() + std::min(n, begin + batch_size));
  }
  std::vector<std::vector<int64_t>> shuffled;
  auto count = static_cast<int64_t>(batches.size());
  for (int64_t i : RandomPermutation(count, seed, static_cast<uint64_t>(2 * epoch + 1))) {
    shuffled.push_back(std::move(batches[i]));
  }
  return shuffled;
}

int64_t BatchForEqualSteps(int64_t batch_size, int64_t rows, int64_t all_rows) {
  const double share = static_cast<double>(rows) / static_cast<double>(all_rows);
  return std::max<int64_t>(1, std::llround(share * static_cast<double>(batch_size)));
}

std::vector<RowList> SplitIntoPasses(const RowList& rows, int64_t max_tokens) {
  std::vector<RowList> passes;
  int64_t tokens = 0;
  for (const TokenRow* row : rows) {
    auto length = static_cast<int64_t>(row->tokens.size());
    if (passes.empty() || tokens + length > max_tokens) {
      passes.emplace_back();
      tokens = 0;
    }
    passes.back().push_back(row);
    tokens += length;
  }
  return passes;
}

LossBatch ResponseBatch(const RowList& rows, float weight) {
  return ResponseBatch(rows, std::vector<float>(rows.size(), weight));
}

LossBatch ResponseBatch(const RowList& rows, std::span<const float> weights) {
  std::vector<std::span<const int32_t>> spans;
  for (const TokenRow* row : rows) spans.emplace_back(row->tokens);
  LossBatch batch{PackRows(spans), {}, {0}};
  std::vector<int64_t> positions, targets;
  std::vector<float> target_weights;
  for (size_t r = 0; r < rows.size(); ++r) {
    const TokenRow& row = *rows[r];
    for (int64_t t = row.num_prompt; t < static_cast<int64_t>(row.tokens.size()); ++t) {
      positions.push_back(batch.packed.offsets[r] + t - 1);
      targets.push_back(row.tokens[t]);
      target_weights.push_back(weights[r]);
    }
    batch.target_offsets.push_back(static_cast<int64_t>(positions.size()));
  }
  batch.targets.positions = torch::tensor(positions, torch::kLong);
  batch.targets.targets = torch::tensor(targets, torch::kLong);
  batch.targets.weights = torch::tensor(target_weights, torch::kFloat);
  return batch;
}

int64_t NumResponseTokens(const RowList& rows) {
  return std::accumulate(rows.begin(), rows.end(), int64_t{0}, [](int64_t total, const TokenRow* row) {
    return total + static_cast<int64_t>(row->tokens.size()) - row->num_prompt;
  });
}

}  // namespace elrea
