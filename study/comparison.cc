#include "study/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace elrea {
namespace {

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

std::vector<int64_t> CommonSeeds(const std::vector<const MethodRecord*>& records) {
  std::vector<int64_t> seeds = SeedsOf(*records[0]);
  for (const MethodRecord* record : records) {
    std::erase_if(seeds, [&](int64_t seed) { return !record->outcomes.contains(seed); });
  }
  return seeds;
}

// [held-out rows] method minus reference; empty where one has no losses.
std::vector<double> LossChange(const MethodRecord& method, const MethodRecord& reference,
                               const std::vector<int64_t>& seeds) {
  const std::vector<double> ours = LossesOverSeeds(method, seeds), theirs = LossesOverSeeds(reference, seeds);
  return ours.size() == theirs.size() ? Minus(ours, theirs) : std::vector<double>();
}

std::optional<PairedDifference> DifferWithoutNan(std::vector<double> differences,
                                                 const SummaryOptions& options) {
  differences = WithoutNan(std::move(differences));
  if (differences.empty()) return std::nullopt;
  return ComparePaired({differences}, options);
}

// Over the rows that both have a loss of.
Estimate RelativeLoss(const std::vector<double>& change, const std::vector<double>& reference, const SummaryOptions& options) {
  std::vector<double> changes, references;
  for (size_t i = 0; i < change.size(); ++i) {
    if (std::isnan(change[i])) continue;
    changes.push_back(change[i]);
    references.push_back(reference[i]);
  }
  return BootstrapRatio(changes, references, options.bootstrap_samples, options.seed);
}

}  // namespace

PairedDifference ComparePaired(const Groups& differences, const SummaryOptions& options) {
  PairedDifference d;
  for (const auto& group : differences) d.n += static_cast<int64_t>(group.size());
  d.value = BootstrapMean(differences, options.bootstrap_samples, options.seed);
  d.p = PermutationPValue(differences, options.permutation_samples, options.seed);
  return d;
}

int ShownSide(const PairedDifference& d) {
  if (d.p >= 0.05) return 0;
  return d.value.interval.low > 0 ? 1 : d.value.interval.high < 0 ? -1 : 0;
}

std::string PText(double p) { return p < 0.001 ? "p<0.001" : fmt::format("p={:.3f}", p); }

std::string DifferenceText(const std::optional<PairedDifference>& d, double factor, int digits) {
  if (!d) return "";
  const Interval& i = d->value.interval;
  return fmt::format("{:+.{}f} [{:+.{}f}, {:+.{}f}] {}", factor * d->value.mean, digits, factor * i.low, digits, factor * i.high,
                     digits, PText(d->p));
}

Json DifferenceJson(const PairedDifference& d) {
  return {{"mean", d.value.mean},
          {"interval_95", {d.value.interval.low, d.value.interval.high}},
          {"n", d.n},
          {"p", d.p}};
}

MethodComparison Compare(const MethodRecord& of, const MethodRecord& with, const SummaryOptions& options) {
  MethodComparison comparison;
  comparison.seeds = CommonSeeds({&of, &with});
  if (comparison.seeds.empty()) return comparison;
  const MethodRecord method = OnRowsOf(of, with), reference = OnRowsOf(with, of);
  const std::vector<double> theirs = CorrectOverSeeds(reference, comparison.seeds);
  const std::vector<double> differences = Minus(CorrectOverSeeds(method, comparison.seeds), theirs);
  if (!differences.empty()) {
    comparison.micro = ComparePaired({differences}, options);
    comparison.macro = ComparePaired(GroupsOf(BySource(method, differences)), options);
    if (Mean(theirs) > 0)
      comparison.relative_gain = BootstrapRatio(differences, theirs, options.bootstrap_samples, options.seed);
  }
  const std::vector<double> change = LossChange(method, reference, comparison.seeds);
  comparison.loss = DifferWithoutNan(change, options);
  if (comparison.loss) comparison.relative_loss = RelativeLoss(change, LossesOverSeeds(reference, comparison.seeds), options);
  return comparison;
}

std::optional<PairedDifference> CompareLossGains(const MethodRecord& method, const MethodRecord& base,
                                                 const MethodRecord& other_method,
                                                 const MethodRecord& other_base,
                                                 const SummaryOptions& options) {
  const std::vector<int64_t> seeds = CommonSeeds({&method, &base, &other_method, &other_base});
  if (seeds.empty()) return std::nullopt;
  const std::vector<double> ours = LossChange(method, base, seeds),
                            others = LossChange(other_method, other_base, seeds);
  if (ours.size() != others.size()) return std::nullopt;
  return DifferWithoutNan(Minus(ours, others), options);
}

}  // namespace elrea
