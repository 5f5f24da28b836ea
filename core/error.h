// The one exception type of the project: what went wrong, where, and what to do about it.
//
// Thrown low with the facts (path, row, tensor, expected against actual, remedy); each stage boundary adds
// one context frame ("loading expert 3 from DIR"). Caught in few places only: cli/program.cc (kind -> exit
// code), a server's request boundary, around each method of a study, and the top function of each thread.
#pragma once

#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace elrea {

enum class ErrorKind {
  kInvalidInput,  // the user's data, options or prompt are wrong; exit code 2
  kNotFound,      // a file, run or name does not exist; exit code 3
  kCorrupt,       // a file is damaged or is not what it says it is; exit code 4
  kIo,            // reading or writing failed (no space, no permission); exit code 5
  kUnavailable,   // an optional resource (GPU, program) is missing here; exit code 6
  kInternal,      // a fault in elrea itself; exit code 70
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message);

  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }

  // Adds an outer frame; the newest frame is printed first.
  void AddContext(std::string frame);

  // One line: "frame_n: ... frame_1: message".
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  ErrorKind kind_;
  std::string message_;
  std::vector<std::string> frames_;
  std::string text_;
};

// Exit code of a program that ends with an error of this kind (see ErrorKind).
int ExitCode(ErrorKind kind);

// Runs `body`, adding `frame` to any Error that leaves it.
template <typename Body>
decltype(auto) WithContext(std::string frame, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (Error& error) {
    error.AddContext(std::move(frame));
    throw;
  }
}

}  // namespace elrea
