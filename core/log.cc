// Log lines through spdlog and the progress bar. Both write to stderr under one lock, so that a log line
// wipes a half-drawn bar instead of being appended to it.
#include "core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <mutex>

#include "core/text.h"

namespace elrea {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr double kSilentSeconds = 0.5;
constexpr double kRedrawSeconds = 0.1;
constexpr double kPlainLineSeconds = 10.0;
constexpr double kPlainLastLineSeconds = 2.0;

// Guards stderr and bar_on_screen.
std::mutex& StderrMutex() {
  static std::mutex mutex;
  return mutex;
}
bool bar_on_screen = false;

void WipeBar() {
  if (bar_on_screen) {
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
    bar_on_screen = false;
  }
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      break;
  }
  return spdlog::level::off;
}

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made =
        std::make_shared<spdlog::logger>("elrea", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("%^%l%$ %v");
    return made;
  }();
  return *logger;
}

size_t TerminalColumns() {
  struct winsize size {};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

std::string Bar(double fraction) {
  constexpr size_t kCells = 20;
  const auto full = static_cast<size_t>(std::clamp(fraction, 0.0, 1.0) * kCells);
  return "[" + std::string(full, '#') + std::string(kCells - full, '.') + "]";
}

}  // namespace

void SetLogLevel(LogLevel level) { Logger().set_level(SpdlogLevel(level)); }

void LogLine(LogLevel level, const char* stage, const std::string& message) {
  if (level == LogLevel::kOff || !Logger().should_log(SpdlogLevel(level))) {
    return;
  }
  const std::lock_guard<std::mutex> lock(StderrMutex());
  WipeBar();
  Logger().log(SpdlogLevel(level), "{} {}", stage, message);
}

Progress::Progress(std::string stage, int64_t total, std::string unit)
    : stage_(std::move(stage)),
      unit_(std::move(unit)),
      total_(total),
      begun_(std::chrono::steady_clock::now()),
      shown_(begun_),
      terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { Draw(true); }

void Progress::StartAt(int64_t done) {
  start_ = done;
  done_ = done;
}

void Progress::Set(int64_t done, const std::string& note) {
  done_ = done;
  note_ = note;
  const auto now = std::chrono::steady_clock::now();
  const double silence = Seconds(now - shown_).count();
  const double interval = terminal_ ? kRedrawSeconds : kPlainLineSeconds;
  if (silence >= interval && Seconds(now - begun_).count() >= kSilentSeconds) {
    shown_ = now;
    Draw(false);
  }
}

void Progress::Draw(bool last) {
  if (!Logger().should_log(spdlog::level::info)) {
    return;
  }
  const double elapsed = Seconds(std::chrono::steady_clock::now() - begun_).count();
  if (last && !(terminal_ ? drawn_ : elapsed >= kPlainLastLineSeconds)) {
    return;
  }
  drawn_ = true;
  const double rate = elapsed > 0.0 ? static_cast<double>(done_ - start_) / elapsed : 0.0;
  std::string text = FormatCount(done_);
  if (total_ > 0) {
    const double fraction = static_cast<double>(done_) / static_cast<double>(total_);
    text = fmt::format("{}{:.0f}% {}/{}", terminal_ ? Bar(fraction) + " " : "", 100.0 * fraction, text,
                       FormatCount(total_));
  }
  text += fmt::format(" {}, {} {}/s", unit_,
                      rate >= 100.0 ? fmt::format("{:.0f}", rate) : fmt::format("{:.3g}", rate), unit_);
  if (last) {
    text += ", took " + FormatDuration(elapsed);
  } else if (total_ > 0 && rate > 0.0) {
    text += ", ETA " + FormatDuration(static_cast<double>(total_ - done_) / rate);
  }
  text += note_.empty() ? "" : ", " + note_;

  if (!terminal_) {
    LogLine(LogLevel::kInfo, stage_.c_str(), text);
    return;
  }
  const std::lock_guard<std::mutex> lock(StderrMutex());
  std::string line = stage_ + " " + text;
  line.resize(std::min(line.size(), TerminalColumns() - 1));
  line.resize(CompleteUtf8Prefix(line));
  fmt::print(stderr, "\r{}\033[K{}", line, last ? "\n" : "");
  std::fflush(stderr);
  bar_on_screen = !last;
}

}  // namespace elrea
