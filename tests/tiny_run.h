// A run small enough for tests: the tiny model of tests/golden, rows of two tasks, a minute's work in a
// second.
#pragma once

#include <fmt/format.h>

#include <map>

#include "tests/elrea_program.h"

namespace elrea {

// Rows of two sources with instructions unlike each other, so that clusters have something to find.
inline std::string TinyRows(int64_t count, int64_t first) {
  std::string lines;
  for (int64_t i = first; i < first + count; ++i) {
    const int64_t a = 10 + i % 37, b = 10 + (i * 7) % 41;
    const bool sum = i % 2 == 0;
    const std::string instruction =
        sum ? fmt::format("What is {} + {}?", a, b) : fmt::format("Sort: cat{}, dog{}, ant{}", a, b, a);
    const std::string answer = sum ? std::to_string(a + b) : fmt::format("ant{}, cat{}, dog{}", a, a, b);
    Json row = {{"instruction", instruction},
                {"output", answer},
                {"answer", answer},
                {"source", sum ? "sums" : "words"}};
    if (sum) row["choices"] = {std::to_string(a + b - 10), answer, std::to_string(a + b + 1)};
    lines += JsonLine(row) + "\n";
  }
  return lines;
}

class TinyRun {
 public:
  TinyRun() {
    WriteFileAtomically(train(), TinyRows(48, 0));
    WriteFileAtomically(validation(), TinyRows(8, 200));
    WriteFileAtomically(test(), TinyRows(20, 100));
    WriteFileAtomically(config(), Yaml());
  }

  fs::path train() const { return folder_ / "train.jsonl"; }
  fs::path validation() const { return folder_ / "validation.jsonl"; }
  fs::path test() const { return folder_ / "test.jsonl"; }
  fs::path config() const { return folder_ / "run.yaml"; }
  fs::path folder() const { return folder_.path(); }
  fs::path run() const { return folder_ / "run"; }

  // `elrea run` with more arguments.
  ProgramResult Go(std::vector<std::string> more = {}, const ProgramOptions& options = {}) const {
    return GoInto(run(), std::move(more), options);
  }
  ProgramResult GoInto(const fs::path& out, std::vector<std::string> more = {},
                       const ProgramOptions& options = {}) const {
    std::vector<std::string> arguments = {"run", "--config", config(), "--out", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunElrea(arguments, options);
  }

  std::string Yaml() const {
    return fmt::format(R"(model: {{path: "{}", dtype: f32}}
data:
  files: ["{}"]
  validation_files: ["{}"]
  test_files: ["{}"]
lora: {{rank: 4}}
finetune: {{epochs: 2, batch_size: 4, learning_rate: 0.002, checkpoint_every_s: 0.05}}
features: {{projection_dim: 256, more_projection_dims: [100], max_tokens_per_pass: 256}}
cluster: {{sample_rows: 40, birch: {{num_clusters: 2}}}}
experts: {{learning_rate: 0.001, epochs: 1, equal_steps: false}}
generation: {{max_new_tokens: 6}}
eval: {{chunk_rows: 8, loss: true, bootstrap_samples: 200}}
)",
                       TinyModel().string(), train().string(), validation().string(), test().string());
  }

 private:
  TempDir folder_;
};

// Path below the run -> contents, of all files whose bytes must not depend on interruptions: adapters,
// moments, features, clusters, answers and reports. Left out: wall-clock times (metrics, finetune.json) and
// what is on its way.
inline std::map<std::string, std::string> ResultFiles(const fs::path& run) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(run)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name.starts_with(".") || name.ends_with(".tmp")) continue;
    if (name == "metrics.jsonl" || name == "finetune.json") continue;
    files[fs::relative(entry.path(), run).string()] = ReadFile(entry.path());
  }
  return files;
}

}  // namespace elrea
