// The loop that every evaluation shares: plans for a chunk of rows -> generated texts -> answers -> appended
// to a JSONL file; and the loss of the reference responses under the same plans. Who answers a row is the
// caller's business.
//
// A chunk is answered and saved as a whole, so that a resumed evaluation forms the same batches as an
// uninterrupted one.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/answer.h"
#include "ensemble/generate.h"
#include "eval/eval_rows.h"
#include "eval/predictions.h"

namespace elrea {

// Who answers one row, and how.
struct RowPlan {
  std::vector<MixtureMember> members;
  Mixing mixing = Mixing::kLogits;
  int64_t num_samples = 1;  // above 1: that many texts are drawn, and the most frequent answer is the row's
  // For the record, of a routed method.
  double base_weight = 0;
  std::vector<double> expert_weights = {};
  std::shared_ptr<const void> owned = {};  // keeps adapters alive that were made for this row
};
// One plan per row index of the evaluation, in order. Called for rows whose prompt fits the context.
using Planner = std::function<std::vector<RowPlan>(std::span<const int64_t> rows)>;

struct AnswerJob {
  const Decoder* decoder;
  const Tokenizer* tokenizer;
  const ChatTemplate* chat;
  const PackedWeights* packed = nullptr;  // as for Generator
  std::span<const EvalRow> rows;
  SamplingOptions sampling;
  int64_t chunk_rows = 128;
  AnswerStyle style = AnswerStyle::kAuto;
  AnswerMatching matching = AnswerMatching::kFlexible;
  std::string label = {};           // of the progress bar
  std::filesystem::path path = {};  // the JSONL file
  // Called with each chunk of answers, those of an earlier session included, in row order.
  std::function<void(std::span<const Prediction> chunk)> on_chunk = {};
};

// All rows' answers in order, going on where an earlier session stopped. Errors as of PredictionLog and
// Generator.
std::vector<Prediction> AnswerRows(const AnswerJob& job, const Planner& plan);

// The answer that most of `answers` agree on after normalisation, the first of equals; empty ones do not
// vote. Returns its index, or 0 when none votes.
size_t MajorityVote(const std::vector<std::string>& answers);

}  // namespace elrea
