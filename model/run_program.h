// Runs another program with an argument vector: no shell, so no quoting and no injection.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace elrea {

// Starts arguments[0] (searched in PATH), waits for it and returns its exit status, or 128 + signal. Its
// standard input is empty; all its output goes to the file `log`. kUnavailable naming the program when it
// cannot be started.
int RunProgram(const std::vector<std::string>& arguments, const std::filesystem::path& log);

}  // namespace elrea
