// What a method did under each seed, and values of rows averaged over seeds: what all statistics of a study
// begin with.
#pragma once

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "study/run_plan.h"

namespace elrea {

struct MethodRecord {
  std::string name, help, origin;
  std::map<int64_t, MethodOutcome> outcomes;  // by seed; without those that failed
  std::string failure;                        // why the first failing seed did; empty: none failed
};

// Values by group: those of the rows of a source.
using Groups = std::vector<std::vector<double>>;

std::vector<int64_t> SeedsOf(const MethodRecord& record);

// NaN of none.
double Mean(const std::vector<double>& values);
std::vector<double> WithoutNan(std::vector<double> values);
// a[i] - b[i]. REQUIRES: equal sizes.
std::vector<double> Minus(std::vector<double> a, const std::vector<double>& b);

// [count] value(outcome, i) of the i-th item, averaged over these seeds. REQUIRES: the record has them.
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

// [answered rows] 1 where the answer is right, else 0; [held-out rows, or none] nats per token, NaN where
// some seed has none. REQUIRES: at least one outcome.
std::vector<double> CorrectOverSeeds(const MethodRecord& record, const std::vector<int64_t>& seeds);
std::vector<double> LossesOverSeeds(const MethodRecord& record, const std::vector<int64_t>& seeds);

// values[i] of items[i], grouped by one of the items' names.
template <typename Item>
std::map<std::string, std::vector<double>> GroupedBy(std::string Item::*name, const std::vector<Item>& items,
                                                     const std::vector<double>& values) {
  std::map<std::string, std::vector<double>> groups;
  for (size_t i = 0; i < values.size(); ++i) groups[items[i].*name].push_back(values[i]);
  return groups;
}

// Values of the answered rows by source, sources by name; and of those that belong to a task, by task.
std::map<std::string, std::vector<double>> BySource(const MethodRecord& record,
                                                    const std::vector<double>& values);
std::map<std::string, std::vector<double>> ByTask(const MethodRecord& record, const std::vector<double>& values);
Groups GroupsOf(const std::map<std::string, std::vector<double>>& by_source);

}  // namespace elrea
