// The process around a subcommand: allocator, signals, threads, and exit codes.
#pragma once

#include <string>

#include "cli/commands.h"

namespace elrea {

inline constexpr const char* kVersion = "0.1.0";

// Keeps large blocks mapped between passes: activations come and go, and unmapping them costs page faults.
void KeepFreedMemory();

// Keeps freed memory, and ends the process with 130 or 143 on SIGINT and SIGTERM: what is under way is saved as it goes.
void PrepareProcess();

// Starts the program again with GOMP_SPINCOUNT set, unless that or OMP_WAIT_POLICY is set already. By default the threads
// of a parallel loop spin for 3 ms before they sleep; beside other busy processes they take the CPU from the very thread
// they wait for (docs/performance.md). The variable is read when the library loads. Returns when there is nothing to do.
void RestartWithShortSpins(char** argv);

// Runs the action with the threads and log level asked for; the exit code. Prints one line `error: ...` on
// failure.
int RunAction(const Invocation& invocation);

// Prints `error: ...` with a hint at the --help of `command`, "elrea adapter merge"; the exit code of invalid input.
int FailUsage(const std::string& message, const std::string& command);

}  // namespace elrea
