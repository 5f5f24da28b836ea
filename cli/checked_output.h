// Files that commands write only when what they hold was checked against what it was made from
// (lora/probe.h).
#pragma once

#include "core/files.h"
#include "core/json.h"

namespace elrea {

// Largest difference of a logit between f32 results that are the same but for the order of rounding.
inline constexpr double kExactProbes = 2e-3;

// kInvalidInput when there is something at `output` already.
void RequireAbsent(const fs::path& output);

// A place beside `output`, with its extension, by which formats are told apart. What is there goes with this
// object unless it was renamed to `output`.
class UnfinishedOutput {
 public:
  explicit UnfinishedOutput(const fs::path& output);
  ~UnfinishedOutput();
  UnfinishedOutput(const UnfinishedOutput&) = delete;
  UnfinishedOutput& operator=(const UnfinishedOutput&) = delete;

  const fs::path& path() const { return path_; }
  void RenameTo(const fs::path& output);

 private:
  fs::path path_;
};

// Prints where the file is and what was checked: ProbeRecord's object, without its tokens.
void ReportCheck(const fs::path& output, const Json& record, bool as_json);

}  // namespace elrea
