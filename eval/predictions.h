// The answers of one method as a JSONL file that grows chunk by chunk: a killed evaluation goes on after the
// last whole chunk, and the finished file is the same, byte for byte, as that of an uninterrupted one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/json.h"

namespace elrea {

struct Prediction {
  int64_t row = 0;  // 0-based, of the evaluation's rows
  std::string source;
  std::string gold;
  std::string response;  // the generated text
  std::string answer;    // found in it; empty when there is none
  bool correct = false;
  std::string finish_reason;  // "stop", "length", or "over_long" when the prompt did not fit and nothing ran
  int64_t num_tokens = 0;
  double base_weight = 0;              // of a routed method
  std::vector<double> expert_weights;  // [clusters], empty when not routed
  std::string task = {};               // EvalRow's; not part of the file
};
Json PredictionJson(const Prediction& prediction);

// Single-thread.
class PredictionLog {
 public:
  // Reads what an earlier session left: rows 0, 1, ... in order, cut to a multiple of `chunk_rows` unless all
  // `num_rows` are there. A last line that a crash cut off is dropped. kCorrupt naming file and line for any
  // other damage.
  PredictionLog(fs::path path, int64_t num_rows, int64_t chunk_rows);

  const std::vector<Prediction>& finished() const { return finished_; }
  // Appends whole lines and flushes them to the disk.
  void Append(const std::vector<Prediction>& chunk);

 private:
  fs::path path_;
  std::vector<Prediction> finished_;
};

}  // namespace elrea
