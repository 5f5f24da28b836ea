#include "eval/response_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "model/device_memory.h"

namespace elrea {
namespace {

using torch::Tensor;

// States of responses by member of a plan: those that predict the response's tokens. [members][response, dim] f32.
using MemberStates = std::vector<Tensor>;

// Tokens of one pass: enough for whole products on the CPU, and on a GPU for more than its launches take.
int64_t TokensPerPass(const Decoder& decoder) { return decoder.device().is_cpu() ? 2048 : 32768; }

// A state that has yet to be made.
struct MissingStates {
  size_t plan, member;
  const LoraWeights* adapter;
};

// What the model reads of a row: all but the last token of the response.
std::vector<int32_t> TokensRead(const EvalRow& row) {
  std::vector<int32_t> tokens = row.prompt;
  tokens.insert(tokens.end(), row.response.begin(), row.response.end() - 1);
  return tokens;
}

// Takes what the cache knows; returns the rest, those under one adapter side by side.
std::vector<MissingStates> TakeKnownStates(const LossJob& job, std::span<const RowPlan> plans,
                                           std::span<const int64_t> rows, std::vector<MemberStates>& states) {
  std::vector<MissingStates> missing;
  std::map<const LoraWeights*, size_t> places;  // in the order of appearance
  for (size_t i = 0; i < plans.size(); ++i) {
    for (size_t m = 0; m < plans[i].members.size(); ++m) {
      const LoraWeights* adapter = plans[i].members[m].adapter;
      if (job.cache != nullptr && job.cache->contains({adapter, rows[i]})) {
        states[i][m] = job.cache->at({adapter, rows[i]}).to(job.decoder->device());
      } else {
        places.try_emplace(adapter, places.size());
        missing.push_back({i, m, adapter});
      }
    }
  }
  std::stable_sort(missing.begin(), missing.end(), [&](const MissingStates& a, const MissingStates& b) {
    return places.at(a.adapter) < places.at(b.adapter);
  });
  return missing;
}

// One MemberStates per plan; plans[i] is of row rows[i].
std::vector<MemberStates> ResponseStates(const LossJob& job, std::span<const RowPlan> plans,
                                         std::span<const int64_t> rows) {
  std::vector<MemberStates> states;
  std::vector<std::vector<int32_t>> tokens;
  for (size_t i = 0; i < plans.size(); ++i) {
    states.emplace_back(plans[i].members.size());
    tokens.push_back(TokensRead(job.rows[static_cast<size_t>(rows[i])]));
  }
  const std::vector<MissingStates> missing = TakeKnownStates(job, plans, rows, states);
  for (size_t begin = 0, end = 0; begin < missing.size(); begin = end) {
    std::vector<std::span<const int32_t>> read;
    std::vector<const LoraWeights*> adapters;
    size_t length = 0;
    for (; end < missing.size(); ++end) {
      const std::vector<int32_t>& next = tokens[missing[end].plan];
      if (end > begin && std::cmp_greater(length + next.size(), TokensPerPass(*job.decoder))) break;
      read.emplace_back(next);
      adapters.push_back(missing[end].adapter);
      length += next.size();
    }
    LoraMix mix(adapters);
    const PackedBatch batch = PackRows(read);
    const Tensor residual = job.decoder->Forward(batch, &mix);
    for (size_t k = begin; k < end; ++k) {
      const auto [plan, member, adapter] = missing[k];
      const int64_t count = std::ssize(job.rows[static_cast<size_t>(rows[plan])].response);
      const Tensor made = residual.narrow(0, batch.offsets[k - begin + 1] - count, count).clone();
      states[plan][member] = made;
      if (job.cache != nullptr && plans[plan].owned == nullptr) (*job.cache)[{adapter, rows[plan]}] = StatesToKeep(made);
    }
  }
  return states;
}

double RowLoss(const LossJob& job, const RowPlan& plan, const MemberStates& states, int64_t row) {
  const std::vector<int32_t>& response = job.rows[static_cast<size_t>(row)].response;
  const Tensor logits = MixHidden(*job.decoder, plan.members, states, plan.mixing);
  const Tensor targets = torch::tensor(std::vector<int64_t>(response.begin(), response.end()), torch::kLong);
  return at::nll_loss(torch::log_softmax(logits, 1), targets.to(logits.device())).item<double>();
}

bool Fits(const Decoder& decoder, const EvalRow& row) {
  return static_cast<int64_t>(row.prompt.size() + row.response.size()) <= decoder.config().context_length;
}

}  // namespace

Tensor StatesToKeep(const Tensor& states) {
  constexpr int64_t kFree = int64_t{16} << 30;
  return FreeDeviceBytes(states.device()).value_or(0) > kFree ? states : states.cpu();
}

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
    const std::vector<MemberStates> states = ResponseStates(job, plans, fitting);
    for (size_t i = 0; i < fitting.size(); ++i) {
      losses[static_cast<size_t>(fitting[i])] = RowLoss(job, plans[i], states[i], fitting[i]);
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
