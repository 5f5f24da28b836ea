// Which rows make up each optimiser step, and how a step is cut into passes. Pure functions of (rows, seed, epoch).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "model/packed_batch.h"
#include "model/token_loss.h"

namespace elrea {

using RowList = std::vector<const TokenRow*>;

// Row indices of each batch of one epoch: rows are shuffled, sorted by length inside groups of `bucket_batches`
// batches (so that a pass holds rows of like length), and the batches shuffled again.
std::vector<std::vector<int64_t>> EpochBatches(const RowList& rows, int64_t batch_size, int64_t bucket_batches,
                                               uint64_t seed, int64_t epoch);

// The batch size with which `rows` of `all_rows` rows take about as many steps an epoch as all take with `batch_size`:
// their share of it, rounded, at least 1. REQUIRES: 0 <= rows <= all_rows, 0 < all_rows.
int64_t BatchForEqualSteps(int64_t batch_size, int64_t rows, int64_t all_rows);

// Cuts rows, in order, into runs of at most `max_tokens` tokens; a single longer row is a run of its own.
std::vector<RowList> SplitIntoPasses(const RowList& rows, int64_t max_tokens);

// Rows laid end to end with the targets of a loss.
struct LossBatch {
  PackedBatch packed;
  LossTargets targets;
  std::vector<int64_t> target_offsets;  // [rows + 1], the targets of each row
};
// Targets are the response tokens, each with the weight of its row, or all with one `weight`.
LossBatch ResponseBatch(const RowList& rows, std::span<const float> weights);
LossBatch ResponseBatch(const RowList& rows, float weight);
int64_t NumResponseTokens(const RowList& rows);

}  // namespace elrea
