// Reading lines with a progress bar.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "core/files.h"

namespace elrea {

// ForEachLine that tells `position` now and then how many bytes of the file were read; compressed ones as
// they are.
void ForEachLineWithPosition(const fs::path& path,
                             const std::function<void(int64_t number, std::string_view text)>& line,
                             const std::function<void(int64_t bytes)>& position);

}  // namespace elrea
