#include "eval/response_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/log.h"

namespace elrea {
namespace {

using torch::Tensor;

// The states of one row's response under each member: those that predict its tokens. [members][response, dim] f32.
std::vector<Tensor> ResponseStates(const LossJob& job, const RowPlan& plan, int64_t row) {
  const EvalRow& r = job.rows[static_cast<size_t>(row)];
  std::vector<int32_t> tokens = r.prompt;
  tokens.insert(tokens.end(), r.response.begin(), r.response.end() - 1);
  std::vector<Tensor> states(plan.members.size());
  std::vector<size_t> missing;
  std::vector<const LoraWeights*> adapters;
  for (size_t m = 0; m < plan.members.size(); ++m) {
    const auto key = std::make_pair(plan.members[m].adapter, row);
    if (job.cache != nullptr && job.cache->contains(key)) {
      states[m] = job.cache->at(key);
    } else {
      missing.push_back(m);
      adapters.push_back(plan.members[m].adapter);
    }
  }
  if (missing.empty()) return states;
  LoraMix mix(adapters);
  const Tensor residual =
      job.decoder->Forward(PackRows(std::vector<std::span<const int32_t>>(missing.size(), tokens)), &mix);
  const auto length = static_cast<int64_t>(tokens.size()), count = static_cast<int64_t>(r.response.size());
  for (size_t i = 0; i < missing.size(); ++i) {
    const size_t m = missing[i];
    states[m] = residual.narrow(0, static_cast<int64_t>(i + 1) * length - count, count).clone();
    if (job.cache != nullptr && plan.owned == nullptr) (*job.cache)[{plan.members[m].adapter, row}] = states[m];
  }
  return states;
}

double RowLoss(const LossJob& job, const RowPlan& plan, int64_t row) {
  const std::vector<int32_t>& response = job.rows[static_cast<size_t>(row)].response;
  const Tensor logits = MixHidden(*job.decoder, plan.members, ResponseStates(job, plan, row), plan.mixing);
  const Tensor targets = torch::tensor(std::vector<int64_t>(response.begin(), response.end()), torch::kLong);
  return at::nll_loss(torch::log_softmax(logits, 1), targets).item<double>();
}

bool Fits(const Decoder& decoder, const EvalRow& row) {
  return static_cast<int64_t>(row.prompt.size() + row.response.size()) <= decoder.config().context_length;
}

}  // namespace

std::vector<double> MeasureLosses(const LossJob& job, const Planner& plan) {
  const auto num_rows = static_cast<int64_t>(job.rows.size());
  std::vector<double> losses(job.rows.size(), std::numeric_limits<double>::quiet_NaN());
  Progress progress(job.label, num_rows, "rows");
  for (int64_t begin = 0; begin < num_rows; begin += job.rows_per_plan) {
    std::vector<int64_t> fitting;
    for (int64_t i = begin; i < std::min(begin + job.rows_per_plan, num_rows); ++i) {
      if (Fits(*job.decoder, job.rows[static_cast<size_t>(i)])) fitting.push_back(i);
    }
    const std::vector<RowPlan> plans = plan(fitting);
    for (size_t i = 0; i < fitting.size(); ++i) {
      losses[static_cast<size_t>(fitting[i])] = RowLoss(job, plans[i], fitting[i]);
      progress.Add(1);
    }
  }
  return losses;
}

void WriteLosses(const fs::path& path, const std::vector<double>& losses) {
  Json values = Json::array();
  for (double loss : losses) values.push_back(std::isnan(loss) ? Json() : Json(loss));
  WriteJsonFile(path, {{"format_version", 1}, {"nats_per_token", values}});
}

std::vector<double> ReadLosses(const fs::path& path, size_t num_rows) {
  const Json values = JsonField<Json>(ReadVersionedJson(path), "nats_per_token", path.string());
  if (!values.is_array() || values.size() != num_rows) {
    throw Error(ErrorKind::kCorrupt,
                path.string() + ": not one loss per row; delete this file and evaluate again");
  }
  std::vector<double> losses;
  for (const Json& value : values) {
    losses.push_back(value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN());
  }
  return losses;
}

std::vector<double> ResponseLosses(const EvalJob& job, const Method& method) {
  const fs::path path = job.directory / (method.name + ".loss.json");
  if (!fs::exists(path)) {
    WriteLosses(path, MeasureLosses({&job.ensemble->decoder(), job.rows, "loss " + method.name},
                                    PlannerOf(method, *job.ensemble, job.rows)));
  }
  return ReadLosses(path, job.rows.size());
}

}  // namespace elrea
