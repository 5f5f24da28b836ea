#include "study/choice_summary.h"

#include <fmt/format.h>

#include "core/text.h"
#include "study/svg.h"

namespace elrea {
namespace {

using Table = std::vector<std::vector<std::string>>;

bool HasChoices(const MethodRecord& record) {
  return !record.outcomes.empty() && !record.outcomes.begin()->second.choices.empty();
}

// value(outcome) of every scored row, its mean over the seeds.
template <typename Value>
std::vector<double> ChoicesOverSeeds(const MethodRecord& record, const std::vector<int64_t>& seeds,
                                     Value value) {
  return OverSeeds(
      record, seeds, record.outcomes.begin()->second.choices.size(),
      [&](const MethodOutcome& o, size_t i) { return static_cast<double>(value(o.choices[i].outcome)); });
}

std::map<std::string, std::vector<double>> ChoicesBySource(const MethodRecord& record,
                                                           const std::vector<double>& values) {
  return GroupedBy(&ScoredChoices::source, record.outcomes.begin()->second.choices, values);
}

std::map<std::string, std::vector<double>> ChoicesByTask(const MethodRecord& record, const std::vector<double>& values) {
  auto groups = GroupedBy(&ScoredChoices::task, record.outcomes.begin()->second.choices, values);
  groups.erase("");
  return groups;
}

constexpr auto kRight = [](const ChoiceOutcome& o) { return o.by_sum; };
constexpr auto kLoss = [](const ChoiceOutcome& o) { return o.loss; };

void CompareWithBase(const MethodRecord& record, const MethodRecord& base, const SummaryOptions& options,
                     ChoiceSummary& summary) {
  std::vector<int64_t> seeds;
  for (const auto& [seed, outcome] : record.outcomes) {
    if (base.outcomes.contains(seed)) seeds.push_back(seed);
  }
  if (seeds.empty() || !HasChoices(base)) return;
  const auto difference = [&](auto value) {
    std::vector<double> ours = ChoicesOverSeeds(record, seeds, value);
    const std::vector<double> theirs = ChoicesOverSeeds(base, seeds, value);
    for (size_t i = 0; i < ours.size(); ++i) ours[i] -= theirs[i];
    return ours;
  };
  const std::vector<double> right = difference(kRight);
  summary.micro_gain = ComparePaired({right}, options);
  summary.macro_gain = ComparePaired(GroupsOf(ChoicesBySource(record, right)), options);
  summary.loss_change = ComparePaired({difference(kLoss)}, options);
}

Table FigureTable(const std::vector<MethodSummary>& summaries) {
  Table table = {{"method", "n", "macro, %", "- base, points", "micro, %", "per token, %", "per character, %",
                  "loss, nats/choice", "- base"}};
  for (const MethodSummary& s : summaries) {
    if (!s.choices) continue;
    const ChoiceSummary& c = *s.choices;
    table.push_back({s.name, FormatCount(c.n), PointsText(c.macro), DifferenceText(c.macro_gain, 100, 1),
                     PointsText(c.micro), fmt::format("{:.1f}", 100 * c.per_token),
                     fmt::format("{:.1f}", 100 * c.per_character), fmt::format("{:.4f}", c.loss.mean),
                     DifferenceText(c.loss_change, 1, 4)});
  }
  return table;
}

Table SourceTable(const std::vector<MethodSummary>& summaries) {
  Table table = {{"method"}};
  for (const MethodSummary& s : summaries) {
    if (!s.choices) continue;
    if (table[0].size() == 1) {
      for (const std::string& header : SourceHeaders(s.choices->by_source)) table[0].push_back(header);
    }
    std::vector<std::string>& row = table.emplace_back(1, s.name);
    for (const auto& [source, value] : s.choices->by_source) row.push_back(PointsText(value));
  }
  return table;
}

std::string HtmlTable(const Table& table) {
  std::string html = "<div class=\"wide\"><table>\n";
  for (const std::vector<std::string>& row : table) {
    const char* tag = &row == &table.front() ? "th" : "td";
    html += "<tr>";
    for (const std::string& cell : row) html += fmt::format("<{0}>{1}</{0}>", tag, EscapeHtml(cell));
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

constexpr const char* kWhat =
    "A choice counts when it is the likeliest by the sum of its tokens' log-probabilities under the method's "
    "mixture "
    "(beside it: by their mean per token and by the sum per character); the loss is -log of the right "
    "choice's "
    "probability among the choices.";

bool AnyChoices(const std::vector<MethodSummary>& summaries) {
  for (const MethodSummary& s : summaries) {
    if (s.choices) return true;
  }
  return false;
}

}  // namespace

std::optional<ChoiceSummary> SummariseChoices(const MethodRecord& record, const MethodRecord* base,
                                              const SummaryOptions& options) {
  if (!HasChoices(record)) return std::nullopt;
  const std::vector<int64_t> seeds = SeedsOf(record);
  const auto mean = [&](auto value) { return Mean(ChoicesOverSeeds(record, seeds, value)); };
  const auto estimate = [&](const std::vector<std::vector<double>>& groups) {
    return BootstrapMean(groups, options.bootstrap_samples, options.seed);
  };
  ChoiceSummary summary;
  const std::vector<double> right = ChoicesOverSeeds(record, seeds, kRight);
  const auto groups = ChoicesBySource(record, right);
  summary.n = static_cast<int64_t>(right.size());
  summary.micro = estimate({right});
  summary.macro = estimate(GroupsOf(groups));
  summary.by_source = EstimateBySource(groups, options);
  summary.by_task = EstimateBySource(ChoicesByTask(record, right), options);
  summary.per_token = mean([](const ChoiceOutcome& o) { return o.per_token; });
  summary.per_character = mean([](const ChoiceOutcome& o) { return o.per_character; });
  summary.loss = estimate({ChoicesOverSeeds(record, seeds, kLoss)});
  if (base != nullptr && base != &record) CompareWithBase(record, *base, options, summary);
  return summary;
}

Json ChoiceSummaryJson(const ChoiceSummary& s) {
  Json json = {{"n", s.n},
               {"micro", EstimateJson(s.micro)},
               {"macro", EstimateJson(s.macro)},
               {"micro_per_token", s.per_token},
               {"micro_per_character", s.per_character},
               {"loss_nats", EstimateJson(s.loss)},
               {"sources", BySourceJson(s.by_source)}};
  if (!s.by_task.empty()) json["tasks"] = BySourceJson(s.by_task);
  if (s.macro_gain) {
    json["against_base"] = {{"micro", DifferenceJson(*s.micro_gain)},
                            {"macro", DifferenceJson(*s.macro_gain)},
                            {"loss_nats", DifferenceJson(*s.loss_change)}};
  }
  return json;
}

std::string ChoiceSummaryText(const std::vector<MethodSummary>& summaries) {
  if (!AnyChoices(summaries)) return "";
  return fmt::format("\nBy likelihood of the choices. {}\n\n{}\nLikeliest choice per source, %\n\n{}", kWhat,
                     FormatTable(FigureTable(summaries)), FormatTable(SourceTable(summaries)));
}

std::string ChoiceSummaryHtml(const std::vector<MethodSummary>& summaries) {
  if (!AnyChoices(summaries)) return "";
  return fmt::format("<p>{}</p>\n{}{}", EscapeHtml(kWhat), HtmlTable(FigureTable(summaries)),
                     HtmlTable(SourceTable(summaries)));
}

}  // namespace elrea
