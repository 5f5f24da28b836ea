#include "eval/choice_likelihood.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <list>
#include <optional>

#include "core/log.h"
#include "model/kv_cache.h"

namespace elrea {
namespace {

using torch::Tensor;

int64_t Size(const auto& values) { return static_cast<int64_t>(values.size()); }

// Positions whose states predict tokens of choices: one for all first tokens, then those within each choice.
int64_t NumStates(const EvalChoices& choices) {
  int64_t count = 1;
  for (const auto& tokens : choices.rest) count += Size(tokens) - 1;
  return count;
}

// Prompt and lead are read once into a cache per adapter, then every choice after them, all adapters at once.
// [adapters][NumStates, dim] f32: the state after prompt and lead, then those within the choices in their
// order.
std::vector<Tensor> ReadChoiceStates(const Decoder& decoder, const EvalRow& row,
                                     const std::vector<const LoraWeights*>& adapters) {
  std::vector<int32_t> tokens = row.prompt;
  tokens.insert(tokens.end(), row.choices.shared.begin(), row.choices.shared.end());
  size_t longest = 0;
  for (const auto& rest : row.choices.rest) longest = std::max(longest, rest.size());
  std::list<KvCache> caches;
  LoraMix mix(adapters);
  PackedBatch batch = PackRows(std::vector<std::span<const int32_t>>(adapters.size(), tokens));
  if (longest > 1) {
    for (size_t a = 0; a < adapters.size(); ++a) {
      caches.emplace_back(decoder.config(), decoder.dtype(), decoder.device(),
                          Size(tokens) + static_cast<int64_t>(longest));
      batch.caches.push_back(&caches.back());
    }
  }
  const Tensor residual = decoder.Forward(batch, &mix);
  std::vector<std::vector<Tensor>> parts(adapters.size());
  for (size_t a = 0; a < adapters.size(); ++a)
    parts[a].push_back(residual.narrow(0, static_cast<int64_t>(a + 1) * Size(tokens) - 1, 1));
  for (const auto& rest : row.choices.rest) {
    const int64_t count = Size(rest) - 1;  // its last token is only predicted
    if (count == 0) continue;
    const auto read = std::span(rest).first(static_cast<size_t>(count));
    PackedBatch choice = PackRows(std::vector<std::span<const int32_t>>(adapters.size(), read));
    choice.caches = batch.caches;
    const Tensor states = decoder.Forward(choice, &mix);
    for (size_t a = 0; a < adapters.size(); ++a)
      parts[a].push_back(states.narrow(0, static_cast<int64_t>(a) * count, count));
    for (KvCache& cache : caches) cache.Truncate(Size(tokens));
  }
  std::vector<Tensor> all;
  for (const auto& of_adapter : parts) all.push_back(torch::cat(of_adapter));
  return all;
}

// The state that predicts the choices' first tokens, where the states of the row's response are known and the
// response begins with the same lead, and nothing else is needed.
std::optional<Tensor> FromResponse(const LossJob& job, const LoraWeights* adapter, int64_t row) {
  const EvalRow& r = job.rows[static_cast<size_t>(row)];
  const std::vector<int32_t>& shared = r.choices.shared;
  if (job.cache == nullptr || NumStates(r.choices) > 1 || r.response.size() <= shared.size() ||
      !std::equal(shared.begin(), shared.end(), r.response.begin())) {
    return std::nullopt;
  }
  const auto found = job.cache->find({adapter, row});
  if (found == job.cache->end()) return std::nullopt;
  return found->second.narrow(0, Size(shared), 1).to(job.decoder->device());
}

// [members][NumStates, dim] f32
std::vector<Tensor> ChoiceStates(const LossJob& job, const RowPlan& plan, int64_t row, HiddenCache* kept) {
  std::vector<Tensor> states(plan.members.size());
  std::vector<size_t> missing;
  std::vector<const LoraWeights*> adapters;
  for (size_t m = 0; m < plan.members.size(); ++m) {
    const LoraWeights* adapter = plan.members[m].adapter;
    if (const auto known = FromResponse(job, adapter, row)) {
      states[m] = *known;
    } else if (kept != nullptr && kept->contains({adapter, row})) {
      states[m] = kept->at({adapter, row}).to(job.decoder->device());
    } else {
      missing.push_back(m);
      adapters.push_back(adapter);
    }
  }
  if (missing.empty()) return states;
  const std::vector<Tensor> read =
      ReadChoiceStates(*job.decoder, job.rows[static_cast<size_t>(row)], adapters);
  for (size_t i = 0; i < missing.size(); ++i) {
    states[missing[i]] = read[i];
    if (kept != nullptr && plan.owned == nullptr) (*kept)[{adapters[i], row}] = StatesToKeep(read[i]);
  }
  return states;
}

ChoiceLogProbs RowChoices(const LossJob& job, const RowPlan& plan, int64_t row, HiddenCache* kept) {
  const EvalChoices& choices = job.rows[static_cast<size_t>(row)].choices;
  const Tensor logits =
      MixHidden(*job.decoder, plan.members, ChoiceStates(job, plan, row, kept), plan.mixing);
  const Tensor log_probs = torch::log_softmax(logits, 1).cpu();
  const auto at = log_probs.accessor<float, 2>();
  ChoiceLogProbs sums;
  int64_t state = 1;  // of the next choice's second token
  for (const auto& tokens : choices.rest) {
    double sum = at[0][tokens[0]];
    for (size_t t = 1; t < tokens.size(); ++t) sum += at[state++][tokens[t]];
    sums.push_back(sum);
  }
  return sums;
}

bool IsScored(const Decoder& decoder, const EvalRow& row) {
  if (row.choices.empty()) return false;
  size_t longest = 0;
  for (const auto& rest : row.choices.rest) longest = std::max(longest, rest.size());
  return Size(row.prompt) + Size(row.choices.shared) + static_cast<int64_t>(longest) <=
         decoder.config().context_length;
}

}  // namespace

std::vector<ChoiceLogProbs> MeasureChoices(const LossJob& job, const Planner& plan, HiddenCache* states) {
  std::vector<ChoiceLogProbs> log_probs(job.rows.size());
  std::vector<int64_t> scored;
  for (size_t i = 0; i < job.rows.size(); ++i) {
    if (IsScored(*job.decoder, job.rows[i])) scored.push_back(static_cast<int64_t>(i));
  }
  if (scored.empty()) return log_probs;
  Progress progress(job.label, Size(scored), "rows");
  for (int64_t begin = 0; begin < Size(scored); begin += job.rows_per_plan) {
    const auto asked = std::span(scored).subspan(
        static_cast<size_t>(begin), static_cast<size_t>(std::min(job.rows_per_plan, Size(scored) - begin)));
    const std::vector<RowPlan> plans = plan(asked);
    for (size_t i = 0; i < asked.size(); ++i) {
      log_probs[static_cast<size_t>(asked[i])] = RowChoices(job, plans[i], asked[i], states);
      progress.Add(1);
    }
  }
  return log_probs;
}

std::vector<ChoiceLogProbs> MethodChoices(const EvalJob& job, const Method& method) {
  const fs::path path = job.directory / (method.name + ".choices.json");
  if (!fs::exists(path)) {
    WriteChoices(path, MeasureChoices({&job.ensemble->decoder(), job.rows, "choices " + method.name},
                                      PlannerOf(method, *job.ensemble, job.rows)));
  }
  return ReadChoices(path, job.rows);
}

}  // namespace elrea
