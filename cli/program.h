// The process around a subcommand: allocator, signals, threads, and exit codes.
#pragma once

#include <string>

#include "cli/commands.h"

namespace elrea {

inline constexpr const char* kVersion = "0.1.0";

// Keeps large blocks mapped between passes (activations come and go; unmapping them costs page faults), and
// ends the process with 130 or 143 on SIGINT and SIGTERM: what is under way is saved as it goes.
void PrepareProcess();

// Runs the action with the threads and log level asked for; the exit code. Prints one line `error: ...` on
// failure.
int RunAction(const Invocation& invocation);

// Prints `error: ...` with a hint at --help; the exit code of invalid input.
int FailUsage(const std::string& message);

}  // namespace elrea
