#include "study/study_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/error.h"

namespace elrea {
namespace {

// The rows an ablation answers at most; nothing: no limit of its own.
std::optional<int64_t> AblationLimit(const StudyOptions& options) {
  const std::string& text = options.ablation_answer_limit;
  if (text == "same") return std::nullopt;
  if (text == "none") return 0;
  int64_t limit = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (fault != std::errc() || end != text.data() + text.size() || limit < 1) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("study.ablation_answer_limit is \"{}\"; give same, none or a number from 1 on", text));
  }
  return limit;
}

// `count` of `items`, evenly spread.
std::vector<int64_t> Spread(const std::vector<int64_t>& items, int64_t count) {
  const auto n = static_cast<int64_t>(items.size());
  count = std::min(count, n);
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < count; ++i) chosen.push_back(items[static_cast<size_t>(i * n / count)]);
  return chosen;
}

}  // namespace

void CheckStudyOptions(const StudyOptions& options) {
  if (options.seeds.empty()) throw Error(ErrorKind::kInvalidInput, "study.seeds is empty; give at least one");
  for (int64_t seed : options.ablation_seeds) {
    if (std::find(options.seeds.begin(), options.seeds.end(), seed) == options.seeds.end()) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("study.ablation_seeds: {} is not one of study.seeds, so there would be no base "
                              "adapter to compare with",
                              seed));
    }
  }
  AblationLimit(options);
}

const std::vector<int64_t>& StudySeeds(const StudyOptions& options, bool central) {
  return central || options.ablation_seeds.empty() ? options.seeds : options.ablation_seeds;
}

std::vector<int64_t> StudyAnsweredRows(const StudyOptions& options, bool central, int64_t num_rows) {
  std::vector<int64_t> rows(static_cast<size_t>(num_rows));
  for (int64_t i = 0; i < num_rows; ++i) rows[static_cast<size_t>(i)] = i;
  if (options.answer_limit > 0) rows = Spread(rows, options.answer_limit);
  const auto limit = central ? std::nullopt : AblationLimit(options);
  return limit ? Spread(rows, *limit) : rows;
}

}  // namespace elrea
