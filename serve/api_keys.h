// Keys that clients show as "Authorization: Bearer KEY".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"

namespace elrea {

// One key per line; empty lines and those that begin with '#' are none. kInvalidInput naming file and line for a key
// that is shorter than 16 characters or holds anything but visible ASCII, and for a file without keys.
std::vector<std::string> ReadKeys(const fs::path& path);

// The time this takes tells neither which key came close nor how close.
bool IsKey(std::string_view given, const std::vector<std::string>& keys);

}  // namespace elrea
