#include "study/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/text.h"
#include "study/choice_summary.h"

namespace elrea {
namespace {

// What each seed alone gives.
void AddSeeds(const MethodRecord& record, MethodSummary& summary) {
  for (int64_t seed : summary.seeds) {
    const MethodOutcome& outcome = record.outcomes.at(seed);
    const std::vector<double> correct = CorrectOverSeeds(record, {seed});
    std::vector<double> means;
    for (const auto& group : GroupsOf(BySource(record, correct))) means.push_back(Mean(group));
    const std::vector<double> losses = WithoutNan(outcome.losses);
    summary.seed_micro.push_back(Mean(correct));
    summary.seed_macro.push_back(Mean(means));
    summary.seed_loss.push_back(Mean(losses));
    summary.train_s += outcome.train_s / static_cast<double>(summary.seeds.size());
    summary.decode_s += outcome.decode_s / static_cast<double>(summary.seeds.size());
    summary.peak_bytes = std::max(summary.peak_bytes, outcome.peak_bytes);
  }
}

void AddExactMatch(const MethodRecord& record, const SummaryOptions& options, MethodSummary& summary) {
  const std::vector<double> correct = CorrectOverSeeds(record, summary.seeds);
  if (correct.empty()) return;
  const auto groups = BySource(record, correct);
  summary.num_answered = static_cast<int64_t>(correct.size());
  summary.micro = BootstrapMean({correct}, options.bootstrap_samples, options.seed);
  summary.macro = BootstrapMean(GroupsOf(groups), options.bootstrap_samples, options.seed);
  summary.by_source = EstimateBySource(groups, options);
  summary.by_task = EstimateBySource(ByTask(record, correct), options);
  summary.strict =
      Mean(OverSeeds(record, summary.seeds, correct.size(), [&](const MethodOutcome& o, size_t i) {
        const Prediction& p = o.predictions[i];
        return ResponseMatches(p.response, p.gold, options.style, AnswerMatching::kStrict) ? 1.0 : 0.0;
      }));
}

MethodSummary SummariseOne(const MethodRecord& record, const MethodRecord* base,
                           const SummaryOptions& options) {
  MethodSummary summary;
  summary.name = record.name;
  summary.help = record.help;
  summary.origin = record.origin;
  summary.failure = record.failure;
  summary.seeds = SeedsOf(record);
  if (summary.seeds.empty()) return summary;
  AddExactMatch(record, options, summary);
  const std::vector<double> losses = WithoutNan(LossesOverSeeds(record, summary.seeds));
  summary.num_losses = static_cast<int64_t>(losses.size());
  if (!losses.empty()) summary.loss = BootstrapMean({losses}, options.bootstrap_samples, options.seed);
  if (base != nullptr && base != &record && !base->outcomes.empty()) {
    const MethodComparison comparison = Compare(record, *base, options);
    summary.micro_gain = comparison.micro;
    summary.macro_gain = comparison.macro;
    summary.loss_change = comparison.loss;
    summary.relative_gain = comparison.relative_gain;
    summary.relative_loss = comparison.relative_loss;
  }
  summary.choices = SummariseChoices(record, base, options);
  AddSeeds(record, summary);
  return summary;
}

// As a number, with its interval beside it.
void AddRelative(const std::string& name, const Estimate& e, Json& json) {
  json[name] = e.mean;
  json[name + "_interval_95"] = {e.interval.low, e.interval.high};
}

std::string FigureTable(const std::vector<MethodSummary>& summaries) {
  std::vector<std::vector<std::string>> table = {{"method", "seeds", "n", "macro EM, %", "- base, points",
                                                  "rel.", "n", "loss, nats/token", "- base", "rel.", "train s",
                                                  "decode s", "peak"}};
  for (const MethodSummary& s : summaries) {
    if (s.seeds.empty()) {
      table.push_back({s.name, "failed", "", "", "", "", "", "", "", "", "", "", ""});
      continue;
    }
    const bool answered = s.num_answered > 0;
    table.push_back({s.name, std::to_string(s.seeds.size()), std::to_string(s.num_answered),
                     PointsText(s.macro), DifferenceText(s.macro_gain, 100, 1),
                     ShareText(s.relative_gain),
                     std::to_string(s.num_losses), s.loss ? fmt::format("{:.4f}", s.loss->mean) : "-",
                     DifferenceText(s.loss_change, 1, 4), ShareText(s.relative_loss), fmt::format("{:.0f}", s.train_s),
                     answered ? fmt::format("{:.0f}", s.decode_s) : "-",
                     answered ? FormatBytes(s.peak_bytes) : "-"});
  }
  return FormatTable(table);
}

std::string SourceTable(const std::vector<MethodSummary>& summaries) {
  std::vector<std::vector<std::string>> table = {{"method"}};
  for (const MethodSummary& s : summaries) {
    if (s.num_answered == 0) continue;
    if (table[0].size() == 1) {
      for (const std::string& header : SourceHeaders(s.by_source)) table[0].push_back(header);
      table[0].insert(table[0].end(), {"all rows", "all rows, strict"});
    }
    std::vector<std::string>& row = table.emplace_back(1, s.name);
    for (const auto& [source, value] : s.by_source) row.push_back(PointsText(value));
    row.push_back(PointsText(s.micro));
    row.push_back(fmt::format("{:.1f}", 100 * s.strict));
  }
  return FormatTable(table);
}

}  // namespace

std::vector<MethodSummary> Summarise(const std::vector<MethodRecord>& records,
                                     const SummaryOptions& options) {
  const MethodRecord* base = nullptr;
  for (const MethodRecord& record : records) {
    if (record.name == "base") base = &record;
  }
  std::vector<MethodSummary> summaries;
  for (const MethodRecord& record : records) summaries.push_back(SummariseOne(record, base, options));
  return summaries;
}

std::string PointsText(const std::optional<Estimate>& e) {
  if (!e) return "-";
  return fmt::format("{:.1f} [{:.1f}, {:.1f}]", 100 * e->mean, 100 * e->interval.low, 100 * e->interval.high);
}

std::string ShareText(const std::optional<Estimate>& e) {
  if (!e) return "";
  return fmt::format("{:+.1f}% [{:+.1f}, {:+.1f}]", 100 * e->mean, 100 * e->interval.low, 100 * e->interval.high);
}

std::vector<std::string> SourceHeaders(const BySourceEstimates& by_source) {
  std::vector<std::string> headers;
  for (const auto& [source, value] : by_source) headers.push_back(fmt::format("{} (n={})", source, value.n));
  return headers;
}

BySourceEstimates EstimateBySource(const std::map<std::string, std::vector<double>>& values, const SummaryOptions& options) {
  BySourceEstimates estimates;
  for (const auto& [source, group] : values) {
    estimates[source] = {BootstrapMean({group}, options.bootstrap_samples, options.seed), static_cast<int64_t>(group.size())};
  }
  return estimates;
}

Json EstimateJson(const Estimate& e) {
  return {{"mean", e.mean}, {"interval_95", {e.interval.low, e.interval.high}}};
}

Json BySourceJson(const BySourceEstimates& by_source) {
  Json json = Json::object();
  for (const auto& [source, value] : by_source) {
    json[source] = EstimateJson(value);
    json[source]["n"] = value.n;
  }
  return json;
}

std::string FewRowsText(const BySourceEstimates& by_source) {
  constexpr int64_t kEnough = 5;
  std::vector<std::string> few;
  for (const auto& [source, value] : by_source) {
    if (value.n < kEnough) few.push_back(source);
  }
  if (few.empty()) return "";
  return fmt::format("Fewer than {} answered rows: {}. A bootstrap of so few does not know what other rows would do: their "
                     "intervals, and those of macro averages, are too narrow.",
                     kEnough, Join(few, ", "));
}

std::vector<Rival> EnsembleAgainst(const std::vector<MethodRecord>& records, const SummaryOptions& options) {
  const auto found = std::find_if(records.begin(), records.end(),
                                  [](const MethodRecord& r) { return r.name == "ensemble"; });
  std::vector<Rival> rivals;
  if (found == records.end()) return rivals;
  for (const MethodRecord& record : records) {
    if (!IsCentral(record.origin) || record.name == "ensemble") continue;
    MethodComparison comparison = Compare(*found, record, options);
    if (!comparison.seeds.empty()) rivals.push_back({record.name, std::move(comparison)});
  }
  return rivals;
}

Json RivalsJson(const std::vector<Rival>& rivals) {
  Json all = Json::object();
  for (const auto& [name, c] : rivals) {
    Json& json = all[name] = {{"seeds", c.seeds}};
    if (c.macro) json.update({{"macro", DifferenceJson(*c.macro)}, {"micro", DifferenceJson(*c.micro)}});
    if (c.loss) json["response_loss"] = DifferenceJson(*c.loss);
  }
  return all;
}

const char* StatusName(const MethodSummary& s) {
  return s.seeds.empty() ? "failed" : s.failure.empty() ? "done" : "incomplete";
}

const BySourceEstimates& AnsweredSources(const std::vector<MethodSummary>& summaries) {
  static const BySourceEstimates kNone;
  const auto found = std::find_if(summaries.begin(), summaries.end(), [](const MethodSummary& s) { return s.num_answered > 0; });
  return found == summaries.end() ? kNone : found->by_source;
}

Json SummaryJson(const MethodSummary& s) {
  Json json = {{"name", s.name},
               {"help", s.help},
               {"origin", s.origin},
               {"status", StatusName(s)}};
  if (!s.failure.empty()) json["reason"] = s.failure;
  if (s.seeds.empty()) return json;
  json["seeds"] = s.seeds;
  if (s.num_answered > 0) {
    json["exact_match"] = {
        {"n", s.num_answered}, {"micro", EstimateJson(*s.micro)}, {"macro", EstimateJson(*s.macro)},
        {"strict", s.strict},  {"micro_by_seed", s.seed_micro},   {"macro_by_seed", s.seed_macro}};
  }
  if (s.num_answered > 0) json["exact_match"]["sources"] = BySourceJson(s.by_source);
  if (!s.by_task.empty()) json["exact_match"]["tasks"] = BySourceJson(s.by_task);
  if (s.loss) {
    json["response_loss"] = EstimateJson(*s.loss);
    json["response_loss"]["n"] = s.num_losses;
    json["response_loss"]["by_seed"] = s.seed_loss;
  }
  if (s.micro_gain) {
    json["against_base"] = {{"micro", DifferenceJson(*s.micro_gain)},
                            {"macro", DifferenceJson(*s.macro_gain)}};
  }
  if (s.loss_change) json["against_base"]["response_loss"] = DifferenceJson(*s.loss_change);
  if (s.relative_gain) AddRelative("relative_gain", *s.relative_gain, json["against_base"]);
  if (s.relative_loss) AddRelative("relative_loss", *s.relative_loss, json["against_base"]);
  if (s.choices) json["choices"] = ChoiceSummaryJson(*s.choices);
  json["cost"] = {{"train_s", s.train_s}};
  if (s.num_answered > 0) json["cost"].update({{"decode_s", s.decode_s}, {"peak_bytes", s.peak_bytes}});
  return json;
}

std::string SummaryText(const std::vector<MethodSummary>& summaries) {
  std::string text =
      "Exact match on n answered rows, response loss on n held-out rows, means over the seeds; 95% "
      "bootstrap intervals, paired permutation p\n\n";
  text += FigureTable(summaries) + "\nExact match per source, %\n\n" + SourceTable(summaries);
  if (const std::string few = FewRowsText(AnsweredSources(summaries)); !few.empty()) text += "\n" + few + "\n";
  text += ChoiceSummaryText(summaries);
  for (const MethodSummary& s : summaries) {
    if (!s.failure.empty()) text += fmt::format("\n{}: {}: {}\n", StatusName(s), s.name, s.failure);
  }
  return text;
}

}  // namespace elrea
