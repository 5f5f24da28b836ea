// Builds the one-line text of an Error and maps kinds to exit codes.
#include "core/error.h"

namespace elrea {

Error::Error(ErrorKind kind, std::string message)
    : kind_(kind), message_(std::move(message)), text_(message_) {}

void Error::AddContext(std::string frame) {
  text_ = frame + ": " + text_;
  frames_.push_back(std::move(frame));
}

int ExitCode(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidInput:
      return 2;
    case ErrorKind::kNotFound:
      return 3;
    case ErrorKind::kCorrupt:
      return 4;
    case ErrorKind::kIo:
      return 5;
    case ErrorKind::kUnavailable:
      return 6;
    case ErrorKind::kInternal:
      return 70;  // EX_SOFTWARE of sysexits.h
  }
  return 70;
}

}  // namespace elrea
