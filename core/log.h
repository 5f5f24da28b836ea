// Diagnostics on stderr as `level stage message key=value`, and progress bars. Results alone go to stdout.
// Thread-safe.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace elrea {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };
void SetLogLevel(LogLevel level);  // default kInfo

void LogLine(LogLevel level, const char* stage, const std::string& message);

template <typename... Args>
void LogInfo(const char* stage, fmt::format_string<Args...> format, Args&&... args) {
  LogLine(LogLevel::kInfo, stage, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void LogWarning(const char* stage, fmt::format_string<Args...> format, Args&&... args) {
  LogLine(LogLevel::kWarning, stage, fmt::format(format, std::forward<Args>(args)...));
}

// A bar with rate and ETA on a terminal; elsewhere a plain line at most every 10 s, and one at the end when
// the work took over 2 s. Nothing is shown in the first half second. Single-thread.
class Progress {
 public:
  // `unit` is plural ("rows", "tokens").
  Progress(std::string stage, int64_t total, std::string unit);
  ~Progress();  // ends the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Absolute position; `note` is short ("loss 1.234").
  void Set(int64_t done, const std::string& note = "");
  void Add(int64_t count, const std::string& note = "") { Set(done_ + count, note); }
  // Work found already done on resuming: shown, but not counted in the rate.
  void StartAt(int64_t done);

 private:
  std::string stage_, unit_, note_;
  int64_t total_, done_ = 0, start_ = 0;
  std::chrono::steady_clock::time_point begun_, shown_;
  bool terminal_;  // stderr is one
  bool drawn_ = false;
  void Draw(bool last);
};

}  // namespace elrea
