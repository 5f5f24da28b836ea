#include "features/instruction_pass.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <deque>

#include "model/joined_rows.h"

namespace elrea {

using torch::Tensor;

namespace {

int64_t NumBefore(const InstructionRow& row) { return row.beginning ? row.beginning->length() : 0; }

// The rows from where their beginnings end. Caches of those that have one hold the beginning's keys and values; `caches`
// has them where nobody else does.
PackedBatch PackOwnTokens(const std::vector<InstructionRow>& rows, std::deque<KvCache>& caches) {
  std::vector<std::span<const int32_t>> own;
  for (const InstructionRow& row : rows) own.push_back(row.tokens.subspan(static_cast<size_t>(NumBefore(row))));
  PackedBatch batch = PackRows(own);
  for (const InstructionRow& row : rows) {
    KvCache* cache = row.cache;
    if (row.beginning) {
      const int64_t length = std::ssize(row.tokens);
      KvCache begun = row.beginning->cache().CopyPrefix(NumBefore(row), std::max(length, cache ? cache->capacity() : 0));
      cache = cache ? &(*cache = std::move(begun)) : &caches.emplace_back(std::move(begun));
    }
    batch.caches.push_back(cache);
  }
  return batch;
}

// Position t of a row predicts token t + 1; the weights of a whole row sum to one.
LossTargets OwnTargets(const PackedBatch& batch, const std::vector<InstructionRow>& rows) {
  std::vector<int64_t> positions;
  std::vector<float> weights;
  for (int64_t s = 0; s < batch.num_segments(); ++s) {
    const auto predicted = static_cast<float>(std::ssize(rows[s].tokens) - 1);
    for (int64_t t = 0; t + 1 < batch.length(s); ++t) {
      positions.push_back(batch.begin(s) + t);
      weights.push_back(1.0f / predicted);
    }
  }
  Tensor position = torch::tensor(positions, torch::kLong);
  return {position, batch.ids.index_select(0, position + 1), torch::tensor(weights, torch::kFloat)};
}

// From the own tokens' gradient to that of the whole rows.
Tensor JoinGradients(const std::vector<InstructionRow>& rows, const Tensor& own, const PackedBatch& whole) {
  std::vector<Tensor> before(rows.size());
  std::vector<const Tensor*> beginnings(rows.size());
  for (size_t s = 0; s < rows.size(); ++s) {
    if (!rows[s].beginning) continue;
    before[s] = rows[s].beginning->grad_residual() / static_cast<double>(rows[s].tokens.size() - 1);
    beginnings[s] = &before[s];
  }
  return JoinRows(beginnings, own, whole);
}

}  // namespace

void PassInstructions(const Decoder& decoder, const std::vector<InstructionRow>& rows, int64_t first_layer,
                      ExampleGradients& gradients) {
  std::deque<KvCache> caches;
  const PackedBatch own = PackOwnTokens(rows, caches);
  ForwardTape tape;
  tape.first_layer = first_layer;
  const Tensor residual = decoder.Forward(own, &gradients, &tape);
  Tensor grad_residual;
  decoder.LossAndGradient(residual, OwnTargets(own, rows), grad_residual, VocabularyGradient::kLikely);
  if (std::none_of(rows.begin(), rows.end(), [](const InstructionRow& row) { return row.beginning; })) {
    return decoder.Backward(own, tape, grad_residual, gradients);
  }
  std::vector<std::span<const int32_t>> tokens;
  std::vector<const ExampleGradients*> deltas;
  for (const InstructionRow& row : rows) {
    tokens.push_back(row.tokens);
    tape.beginnings.push_back(row.beginning ? &row.beginning->tape() : nullptr);
    deltas.push_back(row.beginning ? &row.beginning->delta() : nullptr);
  }
  gradients.SetBeginnings(std::move(deltas));
  const PackedBatch whole = PackRows(tokens);
  decoder.Backward(whole, tape, JoinGradients(rows, grad_residual, whole), gradients);
}

}  // namespace elrea
