// kill -9 at any moment, then the same command again: the run ends with the bytes of one that was never
// interrupted.
#include <gtest/gtest.h>

#include <chrono>

#include "core/rng.h"
#include "tests/tiny_run.h"

namespace elrea {
namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Names of files that differ or are missing on one side.
std::string Differences(const std::map<std::string, std::string>& a,
                        const std::map<std::string, std::string>& b) {
  std::string names;
  for (const auto& [name, bytes] : a) {
    const auto other = b.find(name);
    if (other == b.end() || other->second != bytes) names += name + " ";
  }
  for (const auto& [name, bytes] : b) {
    if (!a.contains(name)) names += name + " ";
  }
  return names;
}

TEST(Resume, TenKillsLeaveNoTrace) {
  const TinyRun tiny;
  const double begun = Seconds();
  const ProgramResult whole = tiny.Go();
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  const double whole_s = Seconds() - begun;
  const fs::path killed = tiny.folder() / "killed";
  Rng rng(20);
  int64_t kills = 0;
  for (int attempt = 0; kills < 10 && attempt < 60; ++attempt) {
    // Each session gets part of the whole, so that every stage is hit by some kill.
    const ProgramResult result =
        tiny.GoInto(killed, {}, {.kill_after_s = 0.02 + rng.Uniform() * 0.4 * whole_s});
    ASSERT_TRUE(result.exit_code == 137 || result.exit_code == 0) << result.exit_code << result.err;
    if (result.exit_code == 137) {
      ++kills;
    } else {  // it got to the end: start over elsewhere in the remaining kills
      EXPECT_EQ(Differences(ResultFiles(tiny.run()), ResultFiles(killed)), "");
      fs::remove_all(killed);
    }
  }
  EXPECT_EQ(kills, 10);
  const ProgramResult last = tiny.GoInto(killed);
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_EQ(last.out, whole.out);
  EXPECT_EQ(Differences(ResultFiles(tiny.run()), ResultFiles(killed)), "");
}

TEST(Resume, AFullDiskLeavesEarlierArtifactsWhole) {
  const TinyRun tiny;
  const ProgramResult full = tiny.Go({}, {.max_file_bytes = 40 * 1024});
  EXPECT_EQ(full.exit_code, 5) << full.err;
  EXPECT_NE(ErrorLine(full).find("safetensors"), std::string::npos) << full.err;
  const ProgramResult again = tiny.Go();
  EXPECT_EQ(again.exit_code, 0) << again.err;
  const ProgramResult elsewhere = tiny.GoInto(tiny.folder() / "fresh");
  EXPECT_EQ(Differences(ResultFiles(tiny.run()), ResultFiles(tiny.folder() / "fresh")), "");
}

}  // namespace
}  // namespace elrea
