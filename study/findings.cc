#include "study/findings.h"

#include <fmt/format.h>

#include "core/text.h"

namespace elrea {
namespace {

// "method does better than reference".
struct Claim {
  const char* text;
  const char* better;
  const char* worse;
};

constexpr Claim kClaims[] = {
    {"The ensemble does better than the base adapter", "ensemble", "base"},
    {"Control, not in the paper: the ensemble does better than its base trained on, on all rows", "ensemble",
     "continued_base"},
    {"Random clusters are slightly worse than clusters of gradients", "ensemble", "random_clusters"},
    {"Uniform weights are worse than routing", "ensemble", "uniform_weights"},
    {"Instruction embeddings are worse than gradients", "ensemble", "instruction_embedding"},
    {"Mixing in each layer is worse than mixing logits", "ensemble", "moe_routing"},
    {"Averaging the experts' parameters is worse than mixing logits", "ensemble", "moe_merging"},
    {"Learnt gates (MoLE) fall behind the base adapter", "base", "mole"},
    {"Self-consistency falls behind the base adapter", "base", "self_consistency"},
    {"Ensembles of adapters of other seeds do better than one adapter", "lora_ensemble", "base"},
    {"Principal components in place of a long projection hurt", "ensemble", "birch_pca"},
    {"K-means in place of BIRCH hurts", "birch_pca", "kmeans_pca"},
    {"A longer projection is better: 8,192 against 512", "d_proj_8192", "d_proj_512"},
    {"More experts that answer are better: all against the heaviest one", "ensemble", "top_1"},
};

const MethodRecord* Find(const std::vector<MethodRecord>& records, const std::string& name) {
  for (const MethodRecord& record : records) {
    if (record.name == name && !record.outcomes.empty()) return &record;
  }
  return nullptr;
}

// Those of `names` that are missing.
std::string Missing(const std::vector<MethodRecord>& records, const std::vector<std::string>& names) {
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    if (Find(records, name) == nullptr) missing.push_back(name);
  }
  return missing.empty() ? "" : "without " + Join(missing, ", ");
}

std::string LossText(const PairedDifference& d) {
  return fmt::format("response loss {:+.4f} nats/token [{:+.4f}, {:+.4f}], n={}, {}", d.value.mean,
                     d.value.interval.low, d.value.interval.high, d.n, PText(d.p));
}

std::string MatchText(const PairedDifference& d) {
  return fmt::format("macro exact match {:+.1f} points [{:+.1f}, {:+.1f}], n={}, {}",
                     100 * d.value.mean, 100 * d.value.interval.low, 100 * d.value.interval.high, d.n,
                     PText(d.p));
}

std::string SeedsText(const std::vector<int64_t>& seeds) {
  std::vector<std::string> names;
  for (int64_t seed : seeds) names.push_back(std::to_string(seed));
  return (seeds.size() == 1 ? "seed " : "seeds ") + Join(names, ", ");
}

Finding Judge(const std::vector<MethodRecord>& records, const Claim& claim, const SummaryOptions& options) {
  Finding finding{claim.text};
  const std::string missing = Missing(records, {claim.better, claim.worse});
  if (!missing.empty()) {
    finding.evidence = missing;
    return finding;
  }
  const MethodComparison c = Compare(*Find(records, claim.better), *Find(records, claim.worse), options);
  int for_it = 0, against_it = 0;
  std::vector<std::string> evidence;
  const auto add = [&](const PairedDifference& d, int better_side, const std::string& text) {
    for_it += ShownSide(d) == better_side ? 1 : 0;
    against_it += ShownSide(d) == -better_side ? 1 : 0;
    evidence.push_back(text);
  };
  if (c.loss) add(*c.loss, -1, LossText(*c.loss));
  if (c.macro) add(*c.macro, 1, MatchText(*c.macro));
  if (evidence.empty()) {
    finding.evidence = "no seeds or rows that both have";
    return finding;
  }
  finding.verdict = for_it > 0 && against_it == 0 ? Verdict::kConfirmed : Verdict::kNotConfirmed;
  finding.evidence =
      fmt::format("{} minus {}: {}; {}", claim.better, claim.worse, Join(evidence, "; "), SeedsText(c.seeds));
  if (against_it > 0)
    finding.evidence += for_it > 0 ? "; the measures disagree" : "; it is the other way round";
  if (for_it + against_it == 0) finding.evidence += "; no difference that these rows show";
  return finding;
}

// The record under those seeds only that `other` has too.
MethodRecord OnSeedsOf(const MethodRecord& record, const MethodRecord& other) {
  MethodRecord common = record;
  std::erase_if(common.outcomes, [&](const auto& entry) { return !other.outcomes.contains(entry.first); });
  return common;
}

// Row by row: what the ensemble gains over the base at either rank.
Finding JudgeRank(const std::vector<MethodRecord>& records, int64_t rank, const SummaryOptions& options) {
  Finding finding{fmt::format("The ensemble gains less at rank 64 than at rank {}", rank)};
  finding.evidence = Missing(records, {"ensemble", "base", "rank_64", "rank_64_base"});
  if (rank == 64) finding.evidence = "the study's own rank is 64";
  if (!finding.evidence.empty()) return finding;
  const MethodRecord &high = *Find(records, "rank_64"), &high_base = *Find(records, "rank_64_base");
  const MethodRecord low = OnSeedsOf(*Find(records, "ensemble"), high), &low_base = *Find(records, "base");
  const auto difference = CompareLossGains(low, low_base, high, high_base, options);
  const MethodComparison at_low = Compare(low, low_base, options),
                         at_high = Compare(high, high_base, options);
  if (!difference || !at_low.loss || !at_high.loss) {
    finding.evidence = "no seeds or rows that all have";
    return finding;
  }
  finding.verdict = ShownSide(*difference) < 0 ? Verdict::kConfirmed : Verdict::kNotConfirmed;
  finding.evidence =
      fmt::format("change of the response loss {:+.4f} at rank {}, {:+.4f} at rank 64; difference {}",
                  at_low.loss->value.mean, rank, at_high.loss->value.mean, LossText(*difference));
  if (at_low.micro && at_high.micro) {
    finding.evidence += fmt::format("; relative gain of exact match {:+.1f}% at rank {}, {:+.1f}% at rank 64",
                                    100 * at_low.relative_gain.value_or(Estimate{}).mean, rank,
                                    100 * at_high.relative_gain.value_or(Estimate{}).mean);
  }
  return finding;
}

// The share of the ensemble's gain in loss that its k heaviest experts keep.
Finding JudgeFewExperts(const std::vector<MethodRecord>& records, const SummaryOptions& options) {
  Finding finding{"Few experts are enough: the two heaviest keep at least half of the gain"};
  finding.evidence = Missing(records, {"ensemble", "base", "top_2"});
  if (!finding.evidence.empty()) return finding;
  const MethodRecord& base = *Find(records, "base");
  std::vector<std::string> evidence;
  double share_of_two = 0;
  bool gains = false;
  for (const char* name : {"top_1", "top_2", "top_4"}) {
    const MethodRecord* few = Find(records, name);
    if (few == nullptr) continue;
    const MethodComparison ours = Compare(*few, base, options);
    const MethodComparison all = Compare(OnSeedsOf(*Find(records, "ensemble"), *few), base, options);
    if (!ours.loss || !all.loss || all.loss->value.mean == 0) continue;
    const double share = ours.loss->value.mean / all.loss->value.mean;
    evidence.push_back(fmt::format("{} {:+.4f} ({:.0f}%)", name, ours.loss->value.mean, 100 * share));
    if (name != std::string("top_2")) continue;
    share_of_two = share;
    gains = ShownSide(*all.loss) < 0;
    evidence.push_back(fmt::format("all {:+.4f}, n={}", all.loss->value.mean, all.loss->n));
  }
  if (evidence.empty()) {
    finding.evidence = "no seeds or rows that all have";
    return finding;
  }
  finding.verdict = gains && share_of_two >= 0.5 ? Verdict::kConfirmed : Verdict::kNotConfirmed;
  finding.evidence = "change of the response loss against the base: " + Join(evidence, "; ");
  if (!gains) finding.evidence += "; there is no gain to keep";
  return finding;
}

}  // namespace

const char* VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kConfirmed:
      return "confirmed";
    case Verdict::kNotConfirmed:
      return "not confirmed";
    default:
      return "not measured here";
  }
}

std::vector<Finding> Findings(const std::vector<MethodRecord>& records, int64_t rank,
                              const SummaryOptions& options) {
  std::vector<Finding> findings;
  for (const Claim& claim : kClaims) findings.push_back(Judge(records, claim, options));
  findings.push_back(JudgeRank(records, rank, options));
  findings.push_back(JudgeFewExperts(records, options));
  return findings;
}

Json FindingJson(const Finding& finding) {
  return {
      {"claim", finding.claim}, {"verdict", VerdictName(finding.verdict)}, {"evidence", finding.evidence}};
}

}  // namespace elrea
