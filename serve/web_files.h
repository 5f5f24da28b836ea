// The files of serve/web/, which are part of the program.
#pragma once

#include <string_view>
#include <vector>

namespace elrea {

struct WebFile {
  std::string_view name, bytes;
};
const std::vector<WebFile>& WebFiles();

}  // namespace elrea
