// Counting and printing; sources stay in the order of their first row, so equal input gives equal text.
#include "data/ledger.h"

#include <algorithm>
#include <numeric>

#include "core/text.h"

namespace elrea {
namespace {

constexpr const char* kFateNames[kNumRowFates] = {
    "kept", "over_long", "empty_response", "empty_instruction", "duplicate", "malformed", "example"};
constexpr int64_t kLinesShown = 3;  // per fate in ToTable; the JSON has up to kMaxCulprits

}  // namespace

const char* RowFateName(RowFate fate) { return kFateNames[static_cast<int>(fate)]; }

void DataLedger::Count(const std::string& source, RowFate fate, const std::string& file, int64_t line,
                       const std::string& why) {
  auto [found, is_new] = index_.try_emplace(source, counts_.size());
  if (is_new) counts_.emplace_back(source, std::vector<int64_t>(kNumRowFates, 0));
  const size_t column = static_cast<size_t>(fate);
  ++counts_[found->second].second[column];
  if (++totals_[column] <= kMaxCulprits && fate != RowFate::kKept)
    culprits_.push_back({file, line, fate, why});
}

int64_t DataLedger::Total(RowFate fate) const { return totals_[static_cast<size_t>(fate)]; }

int64_t DataLedger::TotalRows() const { return std::accumulate(totals_.begin(), totals_.end(), int64_t{0}); }

Json DataLedger::ToJson() const {
  Json json;
  json["rows"] = TotalRows();
  for (int fate = 0; fate < kNumRowFates; ++fate) json[kFateNames[fate]] = Total(static_cast<RowFate>(fate));
  json["sources"] = Json::object();
  for (const auto& [source, counts] : counts_) {
    Json& entry = json["sources"][source];
    for (int fate = 0; fate < kNumRowFates; ++fate) {
      entry[kFateNames[fate]] = counts[static_cast<size_t>(fate)];
    }
  }
  json["lines"] = Json::array();
  for (const Culprit& culprit : culprits_) {
    json["lines"].push_back({{"file", culprit.file},
                             {"line", culprit.line},
                             {"fate", RowFateName(culprit.fate)},
                             {"why", culprit.why}});
  }
  return json;
}

std::string DataLedger::ToTable() const {
  std::vector<std::vector<std::string>> table = {{"source", "rows"}};
  std::vector<int> shown;  // kept, and every fate that occurred
  for (int fate = 0; fate < kNumRowFates; ++fate) {
    if (fate != 0 && Total(static_cast<RowFate>(fate)) == 0) continue;
    shown.push_back(fate);
    std::string title = kFateNames[fate];
    std::replace(title.begin(), title.end(), '_', ' ');
    table[0].push_back(title);
  }
  auto add_row = [&](const std::string& name, const std::vector<int64_t>& counts) {
    std::vector<std::string> row = {name,
                                    FormatCount(std::accumulate(counts.begin(), counts.end(), int64_t{0}))};
    for (int fate : shown) row.push_back(FormatCount(counts[static_cast<size_t>(fate)]));
    table.push_back(std::move(row));
  };
  for (const auto& [source, counts] : counts_) add_row(source, counts);
  if (counts_.size() != 1) add_row("all", totals_);
  return FormatTable(table) + CulpritLines();
}

std::string DataLedger::CulpritLines() const {
  std::string text;
  std::vector<int64_t> seen(kNumRowFates, 0);
  for (const Culprit& culprit : culprits_) {
    if (++seen[static_cast<size_t>(culprit.fate)] > kLinesShown) continue;
    text += std::string(RowFateName(culprit.fate)) + ": " + culprit.file + ":" + std::to_string(culprit.line);
    if (!culprit.why.empty()) text += ": " + culprit.why;
    text += "\n";
  }
  for (int fate = 1; fate < kNumRowFates; ++fate) {
    int64_t hidden = Total(static_cast<RowFate>(fate)) - kLinesShown;
    if (hidden > 0) text += std::string(kFateNames[fate]) + ": " + FormatCount(hidden) + " more\n";
  }
  return text;
}

std::string DataLedger::Summary() const {
  std::string text = FormatCount(TotalRows()) + " rows: " + FormatCount(Total(RowFate::kKept)) + " kept";
  for (int fate = 1; fate < kNumRowFates; ++fate) {
    int64_t total = Total(static_cast<RowFate>(fate));
    if (total > 0) text += ", " + FormatCount(total) + " " + kFateNames[fate];
  }
  return text;
}

std::string DataLedger::FirstCulprits(RowFate fate, int64_t limit) const {
  std::vector<std::string> lines;
  for (const Culprit& culprit : culprits_) {
    if (culprit.fate != fate || static_cast<int64_t>(lines.size()) >= limit) continue;
    lines.push_back(culprit.file + ":" + std::to_string(culprit.line) + ": " + culprit.why);
  }
  return Join(lines, "; ");
}

}  // namespace elrea
