// What became of every row of every data file: counts per source and fate, and the offending lines
// themselves. Shown before training starts and kept in the run directory, so that no row is ever lost in
// silence.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/json.h"

namespace elrea {

// kExample: not a row of its own, but shown as a worked example before others (imports).
enum class RowFate { kKept, kOverLong, kEmptyResponse, kEmptyInstruction, kDuplicate, kMalformed, kExample };
inline constexpr int kNumRowFates = 7;
const char* RowFateName(RowFate fate);  // "kept", "over_long", ... as in ToJson

// Counts per source and fate, with the first offending lines of each fate. Single-thread.
class DataLedger {
 public:
  // Lines remembered per fate; all are counted.
  static constexpr int64_t kMaxCulprits = 1000;

  void Count(const std::string& source, RowFate fate, const std::string& file, int64_t line,
             const std::string& why = "");
  int64_t Total(RowFate fate) const;
  int64_t TotalRows() const;
  bool HasLosses() const { return TotalRows() > Total(RowFate::kKept); }

  // {"rows", "kept", ..., "sources": {NAME: {fate: count}}, "lines": [{"file", "line", "fate", "why"}]}
  Json ToJson() const;
  std::string ToTable() const;  // shown before training starts
  // One line: "7 rows: 0 kept, 5 malformed, 2 empty_response"; fates that did not occur are left out.
  std::string Summary() const;
  // The first lines of this fate as "FILE:LINE: WHY", joined by "; ". Empty when there is none.
  std::string FirstCulprits(RowFate fate, int64_t limit) const;

 private:
  struct Culprit {
    std::string file;
    int64_t line;
    RowFate fate;
    std::string why;
  };
  std::vector<std::pair<std::string, std::vector<int64_t>>> counts_;  // by first appearance of the source
  std::unordered_map<std::string, size_t> index_;                     // source -> position in counts_
  std::vector<int64_t> totals_ = std::vector<int64_t>(kNumRowFates, 0);
  std::vector<Culprit> culprits_;
  std::string CulpritLines() const;
};

}  // namespace elrea
