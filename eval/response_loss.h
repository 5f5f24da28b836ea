// Loss of the reference responses: the mean of -log p of the response tokens given the prompt, per row. For an
// ensemble, p is the normalised mixture that decoding samples from.
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "eval/answer_rows.h"
#include "eval/evaluate.h"
#include "eval/method.h"

namespace elrea {

// Hidden states of responses, [response, dim] f32 per (adapter, row): methods that weigh the same adapters otherwise need
// no further pass over the backbone. Holds everything it is given, as StatesToKeep. Single-thread.
using HiddenCache = std::map<std::pair<const LoraWeights*, int64_t>, torch::Tensor>;

// States to put into a cache: on their GPU while much of its memory is free, else on the CPU, which may hold more.
torch::Tensor StatesToKeep(const torch::Tensor& states);

struct LossJob {
  const Decoder* decoder;
  std::span<const EvalRow> rows;
  std::string label;             // of the progress bar
  HiddenCache* cache = nullptr;  // null: none. Adapters that a plan owns are not put into it.
  int64_t rows_per_plan = 64;    // rows the planner is asked for at once
};

// [rows] nats per token under the plans; NaN for a row whose prompt and response do not fit the context.
std::vector<double> MeasureLosses(const LossJob& job, const Planner& plan);

// Losses as a file, null for NaN. kCorrupt when the file has not one loss per row.
void WriteLosses(const std::filesystem::path& path, const std::vector<double>& losses);
std::vector<double> ReadLosses(const std::filesystem::path& path, size_t num_rows);

// MeasureLosses of a method of an evaluation, kept in <method>.loss.json of the job's directory, and read from there
// when it exists.
std::vector<double> ResponseLosses(const EvalJob& job, const Method& method);

}  // namespace elrea
