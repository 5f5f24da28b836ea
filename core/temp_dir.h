// A folder of one's own for a test or a staged download, removed with all that is in it on destruction.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/files.h"

namespace elrea {

class TempDir {
 public:
  // Under $TMPDIR or /tmp; kIo when it cannot be made.
  TempDir() {
    std::string pattern = (fs::temp_directory_path() / "elrea-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw Error(ErrorKind::kIo,
                  "cannot create a folder like " + pattern + "; set TMPDIR to a place you may write");
    }
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const fs::path& path() const { return path_; }
  fs::path operator/(std::string_view name) const { return path_ / name; }

 private:
  fs::path path_;
};

}  // namespace elrea
