// Runs the real program in tests, as a user would: arguments in; exit code, standard output and error out.
// May kill it after a while, or limit what it may write.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "core/files.h"
#include "core/json.h"
#include "core/temp_dir.h"
#include "core/text.h"

namespace elrea {

struct ProgramResult {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string out, err;
};

struct ProgramOptions {
  std::string input = "";      // standard input
  double kill_after_s = 0;     // SIGKILL after this long; 0: let it end
  int64_t max_file_bytes = 0;  // writing more into one file fails; 0: no limit
  int threads = 1;             // more only slow such small work down on a busy machine
};

// The child's side of RunElrea: never returns.
[[noreturn]] inline void ExecElrea(const std::vector<std::string>& arguments, const TempDir& scratch,
                                   const ProgramOptions& options) {
  const auto redirect = [&](const char* name, int flags, int onto) {
    const int fd = ::open((scratch / name).c_str(), flags);
    if (fd < 0 || ::dup2(fd, onto) < 0) ::_exit(125);
  };
  redirect("stdin", O_RDONLY, STDIN_FILENO);
  redirect("stdout", O_WRONLY, STDOUT_FILENO);
  redirect("stderr", O_WRONLY, STDERR_FILENO);
  if (options.max_file_bytes > 0) {
    ::signal(SIGXFSZ, SIG_IGN);  // then write fails with EFBIG, as on a full disk with ENOSPC
    const rlimit limit = {static_cast<rlim_t>(options.max_file_bytes),
                          static_cast<rlim_t>(options.max_file_bytes)};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  ::_exit(126);
}

inline ProgramResult RunElrea(const std::vector<std::string>& arguments, const ProgramOptions& options = {}) {
  const TempDir scratch;
  std::vector<std::string> command = {ELREA_BINARY_DIR "/elrea",
                                      "--threads=" + std::to_string(options.threads)};
  command.insert(command.end(), arguments.begin(), arguments.end());
  WriteFileAtomically(scratch / "stdin", options.input);
  for (const char* name : {"stdout", "stderr"}) WriteFileAtomically(scratch / name, "");
  const pid_t child = ::fork();
  if (child == 0) ExecElrea(command, scratch, options);
  int status = 0;
  if (options.kill_after_s > 0) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(options.kill_after_s);
    pid_t ended = 0;
    while (ended == 0 && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      ended = ::waitpid(child, &status, WNOHANG);
    }
    if (ended == 0) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
    }
  } else {
    ::waitpid(child, &status, 0);
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return {code, ReadFile(scratch / "stdout"), ReadFile(scratch / "stderr")};
}

// The lines of the program's standard output as JSON.
inline std::vector<Json> JsonLines(const std::string& text) {
  std::vector<Json> lines;
  for (const std::string& line : Split(text, '\n')) {
    if (!line.empty()) lines.push_back(ParseJson(line, "standard output"));
  }
  return lines;
}

// The last line that starts with "error: ", and "" when there is none.
inline std::string ErrorLine(const ProgramResult& result) {
  std::string found;
  for (const std::string& line : Split(result.err, '\n')) {
    if (line.starts_with("error: ")) found = line;
  }
  return found;
}

inline fs::path TinyModel() { return fs::path(ELREA_SOURCE_DIR) / "tests/golden/pipeline_model"; }

}  // namespace elrea
