// For tests: damaged copies of a file, and what a reader must make of them - a result or an Error that names
// the file, never a crash, another exception or a fault of our own.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"

namespace elrea {

// Not through AtomicFile, and not over an old file: both wait for the disk, thousands of times in such tests.
inline void WriteUnsynced(const fs::path& path, std::string_view bytes) {
  fs::remove(path);
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// How many times as many damaged copies tests make as they do by themselves: $ELREA_DAMAGE, for long runs.
inline int DamageEffort() {
  const char* effort = std::getenv("ELREA_DAMAGE");
  return effort == nullptr ? 1 : std::max(1, std::atoi(effort));
}

struct DamageOptions {
  size_t cut_every = 1;           // truncated to 0, cut_every, 2 cut_every, ... bytes
  int flips = 200;                // copies with one to three bits flipped; times DamageEffort()
  size_t flip_within = SIZE_MAX;  // only in the first so many bytes: headers
};

struct DamageCounts {
  int cuts = 0, flips = 0;  // copies that were tried
  int refused = 0;
};

// Runs `read` with each damaged copy of `path` in its place, then restores the file. `names`: what every
// error must name.
template <typename Read>
DamageCounts ReadDamaged(const fs::path& path, std::string_view names, const DamageOptions& options,
                         Read read) {
  const std::string good = ReadFile(path);
  DamageCounts counts;
  const auto try_bytes = [&](const std::string& bytes, const std::string& what) {
    WriteUnsynced(path, bytes);
    try {
      read();
    } catch (const Error& error) {
      ++counts.refused;
      EXPECT_NE(error.kind(), ErrorKind::kInternal) << path << ", " << what << ": " << error.what();
      EXPECT_NE(std::string_view(error.what()).find(names), std::string_view::npos)
          << path << ", " << what << ": " << error.what();
    } catch (const std::exception& other) {
      ADD_FAILURE() << path << ", " << what << ": not an elrea::Error: " << other.what();
    }
  };
  for (size_t size = 0; size < good.size(); size += options.cut_every, ++counts.cuts)
    try_bytes(good.substr(0, size), "cut to " + std::to_string(size));
  const int flips = options.flips * DamageEffort();
  Rng rng(17);
  for (int i = 0; i < flips && !good.empty(); ++i, ++counts.flips) {
    std::string flipped = good;
    for (uint64_t count = 1 + rng.Below(3); count > 0; --count)
      flipped[rng.Below(std::min(good.size(), options.flip_within))] ^= static_cast<char>(1 << rng.Below(8));
    try_bytes(flipped, "flip " + std::to_string(i));
  }
  WriteUnsynced(path, good);
  return counts;
}

}  // namespace elrea
