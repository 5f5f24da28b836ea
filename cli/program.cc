#include "cli/program.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>

#include "core/error.h"
#include "core/log.h"

namespace elrea {
namespace {

// Only async-signal-safe calls. Files under way are temporary until renamed, so there is nothing to clean up.
extern "C" void EndOnSignal(int signal_number) {
  constexpr char kNote[] = "\ninterrupted; the same command goes on from the last saved state\n";
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, kNote, sizeof kNote - 1);
  ::_exit(128 + signal_number);
}

// One line, whatever the message holds: the faults of a configuration come as a list.
std::string OneLine(const std::string& message) {
  std::string line;
  for (size_t i = 0; i < message.size(); ++i) {
    if (message[i] != '\n') {
      line += message[i];
      continue;
    }
    while (i + 1 < message.size() && (message[i + 1] == ' ' || message[i + 1] == '\n')) ++i;
    if (i + 1 < message.size()) line += line.ends_with(':') ? " " : "; ";
  }
  return line;
}

int Fail(ErrorKind kind, const std::string& message) {
  std::fprintf(stderr, "error: %s\n", OneLine(message).c_str());
  return ExitCode(kind);
}

int FailOutOfMemory() {
  return Fail(ErrorKind::kUnavailable,
              "out of memory; lower finetune.max_tokens_per_pass, features.max_tokens_per_pass or "
              "finetune.batch_size, "
              "or use --dtype bf16");
}

int FailTorch(const c10::Error& error) {
  const std::string what = error.what_without_backtrace();
  if (what.find("allocate memory") != std::string::npos || what.find("out of memory") != std::string::npos) {
    return FailOutOfMemory();
  }
  return Fail(ErrorKind::kInternal, "libtorch: " + what.substr(0, what.find('\n')));
}

LogLevel ParseLogLevel(const std::string& name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "warning") return LogLevel::kWarning;
  if (name == "error") return LogLevel::kError;
  return name == "off" ? LogLevel::kOff : LogLevel::kInfo;
}

// What was printed may still sit in a buffer; a full disk shows only here.
int FlushStdout() {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return 0;
  return Fail(ErrorKind::kIo, std::string("cannot write to standard output: ") + std::strerror(errno));
}

}  // namespace

void RestartWithShortSpins(char** argv) {
  if (::getenv("GOMP_SPINCOUNT") != nullptr || ::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "5000", 1);
  ::execv("/proc/self/exe", argv);  // where this fails, the program goes on with long spins
}

void KeepFreedMemory() {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

void PrepareProcess() {
  KeepFreedMemory();
  struct sigaction action {};
  action.sa_handler = EndOnSignal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

int RunAction(const Invocation& invocation) {
  try {
    SetLogLevel(ParseLogLevel(invocation.log_level));
    if (invocation.threads > 0) at::set_num_threads(static_cast<int>(invocation.threads));
    invocation.action();
    return FlushStdout();
  } catch (const Error& error) {
    return Fail(error.kind(), error.what());
  } catch (const c10::Error& error) {
    return FailTorch(error);
  } catch (const std::bad_alloc&) {
    return FailOutOfMemory();
  } catch (const std::filesystem::filesystem_error& error) {
    return Fail(ErrorKind::kIo, fmt::format("{}: {}; check that the place exists and that you may use it",
                                            error.path1().string(), error.code().message()));
  } catch (const std::exception& error) {
    return Fail(ErrorKind::kInternal, error.what());
  }
}

int FailUsage(const std::string& message, const std::string& command) {
  return Fail(ErrorKind::kInvalidInput, fmt::format("{}; see `{} --help`", message, command));
}

}  // namespace elrea
