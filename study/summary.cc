#include "study/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "core/text.h"

namespace elrea {
namespace {

using Groups = std::vector<std::vector<double>>;

// NaN of none.
double Mean(const std::vector<double>& values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double Correct(const Prediction& p) { return p.correct ? 1.0 : 0.0; }

// A row's values over the seeds both methods have, averaged. `value(outcome, i)` of the i-th item; NaN drops
// the row.
template <typename Value>
std::vector<double> OverSeeds(const MethodRecord& record, const std::vector<int64_t>& seeds, size_t count,
                              Value value) {
  std::vector<double> means(count, 0);
  for (int64_t seed : seeds) {
    for (size_t i = 0; i < count; ++i)
      means[i] += value(record.outcomes.at(seed), i) / static_cast<double>(seeds.size());
  }
  return means;
}

std::vector<double> CorrectOverSeeds(const MethodRecord& record, const std::vector<int64_t>& seeds) {
  const size_t n = record.outcomes.begin()->second.predictions.size();
  return OverSeeds(record, seeds, n,
                   [](const MethodOutcome& o, size_t i) { return Correct(o.predictions[i]); });
}

std::vector<double> LossesOverSeeds(const MethodRecord& record, const std::vector<int64_t>& seeds) {
  const size_t n = record.outcomes.begin()->second.losses.size();
  return OverSeeds(record, seeds, n, [](const MethodOutcome& o, size_t i) { return o.losses[i]; });
}

std::vector<double> WithoutNan(std::vector<double> values) {
  std::erase_if(values, [](double v) { return std::isnan(v); });
  return values;
}

// Values of the answered rows by source, sources by name.
std::map<std::string, std::vector<double>> BySource(const MethodRecord& record,
                                                    const std::vector<double>& values) {
  std::map<std::string, std::vector<double>> groups;
  const auto& predictions = record.outcomes.begin()->second.predictions;
  for (size_t i = 0; i < values.size(); ++i) groups[predictions[i].source].push_back(values[i]);
  return groups;
}

Groups Values(const std::map<std::string, std::vector<double>>& groups) {
  Groups values;
  for (const auto& [source, group] : groups) values.push_back(group);
  return values;
}

std::vector<int64_t> SeedsOf(const MethodRecord& record) {
  std::vector<int64_t> seeds;
  for (const auto& [seed, outcome] : record.outcomes) seeds.push_back(seed);
  return seeds;
}

// The record with those predictions only whose rows `other` answered too: ablations answer fewer.
MethodRecord OnRowsOf(const MethodRecord& record, const MethodRecord& other) {
  std::set<int64_t> rows;
  for (const Prediction& p : other.outcomes.begin()->second.predictions) rows.insert(p.row);
  MethodRecord common = record;
  for (auto& [seed, outcome] : common.outcomes) {
    std::erase_if(outcome.predictions, [&](const Prediction& p) { return !rows.contains(p.row); });
  }
  return common;
}

PairedDifference Differ(const Groups& differences, const SummaryOptions& options) {
  PairedDifference d;
  for (const auto& group : differences) d.n += static_cast<int64_t>(group.size());
  d.value = BootstrapMean(differences, options.bootstrap_samples, options.seed);
  d.p = PermutationPValue(differences, options.permutation_samples, options.seed);
  return d;
}

std::vector<double> Minus(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

void CompareWithBase(const MethodRecord& of, const MethodRecord& with, const SummaryOptions& options,
                     MethodSummary& summary) {
  const MethodRecord record = OnRowsOf(of, with), base = OnRowsOf(with, of);
  std::vector<int64_t> seeds;
  for (int64_t seed : SeedsOf(record)) {
    if (base.outcomes.contains(seed)) seeds.push_back(seed);
  }
  if (seeds.empty()) return;
  const std::vector<double> ours = CorrectOverSeeds(record, seeds), theirs = CorrectOverSeeds(base, seeds);
  const std::vector<double> differences = Minus(ours, theirs);
  if (!differences.empty()) {
    summary.micro_gain = Differ({differences}, options);
    summary.macro_gain = Differ(Values(BySource(record, differences)), options);
    if (Mean(theirs) > 0) summary.relative_gain = Mean(differences) / Mean(theirs);
  }
  if (!summary.loss) return;
  const std::vector<double> change =
      WithoutNan(Minus(LossesOverSeeds(record, seeds), LossesOverSeeds(base, seeds)));
  if (!change.empty()) summary.loss_change = Differ({change}, options);
}

// What each seed alone gives.
void AddSeeds(const MethodRecord& record, MethodSummary& summary) {
  for (int64_t seed : summary.seeds) {
    const MethodOutcome& outcome = record.outcomes.at(seed);
    const std::vector<double> correct = CorrectOverSeeds(record, {seed});
    std::vector<double> means;
    for (const auto& group : Values(BySource(record, correct))) means.push_back(Mean(group));
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
  summary.macro = BootstrapMean(Values(groups), options.bootstrap_samples, options.seed);
  for (const auto& [source, values] : groups) {
    summary.by_source[source] = BootstrapMean({values}, options.bootstrap_samples, options.seed);
  }
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
  if (base != nullptr && base != &record && !base->outcomes.empty())
    CompareWithBase(record, *base, options, summary);
  AddSeeds(record, summary);
  return summary;
}

Json EstimateJson(const Estimate& e) {
  return {{"mean", e.mean}, {"interval_95", {e.interval.low, e.interval.high}}};
}

Json DifferenceJson(const PairedDifference& d) {
  Json json = EstimateJson(d.value);
  json["n"] = d.n;
  json["p"] = d.p;
  return json;
}

std::string Points(const std::optional<Estimate>& e) {
  if (!e) return "-";
  return fmt::format("{:.1f} [{:.1f}, {:.1f}]", 100 * e->mean, 100 * e->interval.low, 100 * e->interval.high);
}

std::string Signed(const PairedDifference& d, double factor, int digits) {
  return fmt::format("{:+.{}f} [{:+.{}f}, {:+.{}f}] p={:.3f}", factor * d.value.mean, digits,
                     factor * d.value.interval.low, digits, factor * d.value.interval.high, digits, d.p);
}

std::string FigureTable(const std::vector<MethodSummary>& summaries) {
  std::vector<std::vector<std::string>> table = {{"method", "seeds", "n", "macro EM, %", "- base, points",
                                                  "rel.", "n", "loss, nats/token", "- base", "train s",
                                                  "decode s", "peak"}};
  for (const MethodSummary& s : summaries) {
    if (s.seeds.empty()) {
      table.push_back({s.name, "failed", "", "", "", "", "", "", "", "", "", ""});
      continue;
    }
    const bool answered = s.num_answered > 0;
    table.push_back({s.name, std::to_string(s.seeds.size()), std::to_string(s.num_answered), Points(s.macro),
                     s.macro_gain ? Signed(*s.macro_gain, 100, 1) : "",
                     s.micro_gain ? fmt::format("{:+.1f}%", 100 * s.relative_gain) : "",
                     std::to_string(s.num_losses), s.loss ? fmt::format("{:.4f}", s.loss->mean) : "-",
                     s.loss_change ? Signed(*s.loss_change, 1, 4) : "", fmt::format("{:.0f}", s.train_s),
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
      for (const auto& [source, value] : s.by_source) table[0].push_back(source);
      table[0].insert(table[0].end(), {"all rows", "all rows, strict"});
    }
    std::vector<std::string>& row = table.emplace_back(1, s.name);
    for (const auto& [source, value] : s.by_source) row.push_back(Points(value));
    row.push_back(Points(s.micro));
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

Json SummaryJson(const MethodSummary& s) {
  Json json = {{"name", s.name},
               {"help", s.help},
               {"origin", s.origin},
               {"status", s.seeds.empty()     ? "failed"
                          : s.failure.empty() ? "done"
                                              : "incomplete"}};
  if (!s.failure.empty()) json["reason"] = s.failure;
  if (s.seeds.empty()) return json;
  json["seeds"] = s.seeds;
  if (s.num_answered > 0) {
    json["exact_match"] = {
        {"n", s.num_answered}, {"micro", EstimateJson(*s.micro)}, {"macro", EstimateJson(*s.macro)},
        {"strict", s.strict},  {"micro_by_seed", s.seed_micro},   {"macro_by_seed", s.seed_macro}};
  }
  for (const auto& [source, value] : s.by_source)
    json["exact_match"]["sources"][source] = EstimateJson(value);
  if (s.loss) {
    json["response_loss"] = EstimateJson(*s.loss);
    json["response_loss"]["n"] = s.num_losses;
    json["response_loss"]["by_seed"] = s.seed_loss;
  }
  if (s.micro_gain) {
    json["against_base"] = {{"micro", DifferenceJson(*s.micro_gain)},
                            {"macro", DifferenceJson(*s.macro_gain)},
                            {"relative_gain", s.relative_gain}};
  }
  if (s.loss_change) json["against_base"]["response_loss"] = DifferenceJson(*s.loss_change);
  json["cost"] = {{"train_s", s.train_s}};
  if (s.num_answered > 0) json["cost"].update({{"decode_s", s.decode_s}, {"peak_bytes", s.peak_bytes}});
  return json;
}

std::string SummaryText(const std::vector<MethodSummary>& summaries) {
  std::string text =
      "Exact match on n answered rows, response loss on n held-out rows, means over the seeds; 95% "
      "bootstrap intervals, paired permutation p\n\n";
  text += FigureTable(summaries) + "\nExact match per source, %\n\n" + SourceTable(summaries);
  for (const MethodSummary& s : summaries) {
    if (!s.failure.empty()) text += fmt::format("\nfailed: {}: {}\n", s.name, s.failure);
  }
  return text;
}

}  // namespace elrea
