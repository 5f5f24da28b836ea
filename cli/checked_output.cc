#include "cli/checked_output.h"

#include <fmt/format.h>

#include <cstdio>

#include "core/error.h"

namespace elrea {

void RequireAbsent(const fs::path& output) {
  if (!fs::exists(output)) return;
  throw Error(ErrorKind::kInvalidInput, output.string() + " exists; remove it or give another --output");
}

UnfinishedOutput::UnfinishedOutput(const fs::path& output)
    : path_(output.parent_path() / (output.stem().string() + ".unfinished" + output.extension().string())) {
  fs::remove_all(path_);
}

UnfinishedOutput::~UnfinishedOutput() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

void UnfinishedOutput::RenameTo(const fs::path& output) {
  fs::rename(path_, output);
  path_.clear();
}

void ReportCheck(const fs::path& output, const Json& record, bool as_json) {
  Json shown = record;
  shown.erase("tokens");
  if (as_json) {
    shown["output"] = output.string();
    std::printf("%s\n", JsonLine(shown).c_str());
    return;
  }
  const double allowed = record["tolerance"].get<double>();
  std::printf("%s\nchecked: %s; largest difference of a logit %.3g (%s), KL divergence %.3g nats\n",
              output.c_str(), record["compared"].get<std::string>().c_str(),
              record["max_logit_difference"].get<double>(),
              allowed > 0 ? fmt::format("allowed {:.3g}", allowed).c_str() : "not bounded",
              record["mean_kl_nats"].get<double>());
}

}  // namespace elrea
