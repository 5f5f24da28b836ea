#include "eval/predictions.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace elrea {
namespace {

[[noreturn]] void ThrowIo(const char* action, const fs::path& path) {
  throw Error(ErrorKind::kIo, fmt::format("cannot {} {}: {}; run the same command again once that is mended",
                                          action, path.string(), std::strerror(errno)));
}

Prediction ParsePrediction(std::string_view line, const std::string& origin) {
  const Json json = ParseJson(line, origin);
  Prediction p;
  p.row = JsonField<int64_t>(json, "row", origin);
  p.source = JsonField<std::string>(json, "source", origin);
  p.gold = JsonField<std::string>(json, "gold", origin);
  p.response = JsonField<std::string>(json, "response", origin);
  p.answer = JsonField<std::string>(json, "answer", origin);
  p.correct = JsonField<bool>(json, "correct", origin);
  p.finish_reason = JsonField<std::string>(json, "finish_reason", origin);
  p.num_tokens = JsonField<int64_t>(json, "num_tokens", origin);
  if (json.contains("weights")) {
    p.base_weight = JsonField<double>(json["weights"], "base", origin);
    p.expert_weights = JsonField<std::vector<double>>(json["weights"], "experts", origin);
  }
  return p;
}

}  // namespace

Json PredictionJson(const Prediction& p) {
  Json json = {{"row", p.row},
               {"source", p.source},
               {"gold", p.gold},
               {"response", p.response},
               {"answer", p.answer},
               {"correct", p.correct},
               {"finish_reason", p.finish_reason},
               {"num_tokens", p.num_tokens}};
  if (!p.expert_weights.empty()) json["weights"] = {{"base", p.base_weight}, {"experts", p.expert_weights}};
  return json;
}

PredictionLog::PredictionLog(fs::path path, int64_t num_rows, int64_t chunk_rows) : path_(std::move(path)) {
  if (!fs::exists(path_)) return;
  const std::string text = ReadFile(path_);
  size_t begin = 0, kept_bytes = 0;
  std::vector<size_t> ends;  // of each whole line
  for (size_t end = text.find('\n'); end != std::string::npos;
       begin = end + 1, end = text.find('\n', begin)) {
    const std::string origin = fmt::format("{}:{}", path_.string(), ends.size() + 1);
    Prediction p = ParsePrediction(std::string_view(text).substr(begin, end - begin), origin);
    if (p.row != static_cast<int64_t>(finished_.size()) || p.row >= num_rows) {
      throw Error(
          ErrorKind::kCorrupt,
          fmt::format("{}: row {} is out of place; delete this file and evaluate again", origin, p.row));
    }
    finished_.push_back(std::move(p));
    ends.push_back(end + 1);
  }
  const auto whole = static_cast<int64_t>(finished_.size());
  const int64_t keep = whole == num_rows ? whole : whole / chunk_rows * chunk_rows;
  finished_.resize(static_cast<size_t>(keep));
  if (keep > 0) kept_bytes = ends[static_cast<size_t>(keep) - 1];
  if (kept_bytes < text.size()) WriteFileAtomically(path_, std::string_view(text).substr(0, kept_bytes));
}

void PredictionLog::Append(const std::vector<Prediction>& chunk) {
  std::string lines;
  for (const Prediction& p : chunk) lines += JsonLine(PredictionJson(p)) + "\n";
  fs::create_directories(path_.parent_path());
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) ThrowIo("open", path_);
  size_t written = 0;
  while (written < lines.size()) {
    const ssize_t count = ::write(fd, lines.data() + written, lines.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    written += static_cast<size_t>(count);
  }
  const bool stored = written == lines.size() && ::fsync(fd) == 0;
  const int error_number = errno;
  ::close(fd);
  errno = error_number;
  if (!stored) ThrowIo("write", path_);
  finished_.insert(finished_.end(), chunk.begin(), chunk.end());
}

}  // namespace elrea
