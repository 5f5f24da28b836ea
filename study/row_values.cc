#include "study/row_values.h"

#include <limits>
#include <numeric>

namespace elrea {

std::vector<int64_t> SeedsOf(const MethodRecord& record) {
  std::vector<int64_t> seeds;
  for (const auto& [seed, outcome] : record.outcomes) seeds.push_back(seed);
  return seeds;
}

double Mean(const std::vector<double>& values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<double> WithoutNan(std::vector<double> values) {
  std::erase_if(values, [](double v) { return std::isnan(v); });
  return values;
}

std::vector<double> Minus(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

std::vector<double> CorrectOverSeeds(const MethodRecord& record, const std::vector<int64_t>& seeds) {
  const size_t n = record.outcomes.begin()->second.predictions.size();
  return OverSeeds(record, seeds, n,
                   [](const MethodOutcome& o, size_t i) { return o.predictions[i].correct ? 1.0 : 0.0; });
}

std::vector<double> LossesOverSeeds(const MethodRecord& record, const std::vector<int64_t>& seeds) {
  const size_t n = record.outcomes.begin()->second.losses.size();
  return OverSeeds(record, seeds, n, [](const MethodOutcome& o, size_t i) { return o.losses[i]; });
}

std::map<std::string, std::vector<double>> BySource(const MethodRecord& record,
                                                    const std::vector<double>& values) {
  return GroupedBy(&Prediction::source, record.outcomes.begin()->second.predictions, values);
}

std::map<std::string, std::vector<double>> ByTask(const MethodRecord& record, const std::vector<double>& values) {
  auto groups = GroupedBy(&Prediction::task, record.outcomes.begin()->second.predictions, values);
  groups.erase("");
  return groups;
}

Groups GroupsOf(const std::map<std::string, std::vector<double>>& by_source) {
  Groups values;
  for (const auto& [source, group] : by_source) values.push_back(group);
  return values;
}

}  // namespace elrea
