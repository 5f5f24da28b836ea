// Round trips through zlib and zstd themselves, at every size of piece, and damage.
#include "core/decompressor.h"

#include <gtest/gtest.h>

#include "core/expect_error.h"
#include "core/files.h"
#include "core/rng.h"
#include "core/temp_dir.h"
#include "core/testing_compression.h"

namespace elrea {
namespace {

std::string Expand(const std::string& bytes, size_t piece) {
  Decompressor decompressor("FILE");
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    decompressor.Push(std::string_view(bytes).substr(at, piece),
                      [&](std::string_view part) { text += part; });
  }
  decompressor.End();
  return text;
}

std::string SomeText() {
  Rng rng(4);
  std::string text;
  while (text.size() < 300'000) text += "line " + std::to_string(rng.Below(100'000)) + "\n";
  return text;
}

TEST(Decompressor, GivesBackWhatWasCompressed) {
  const std::string text = SomeText();
  for (const size_t piece : {size_t{4}, size_t{1000}, text.size()}) {
    EXPECT_EQ(Expand(text, piece), text);
    EXPECT_EQ(Expand(GzipBytes(text), piece), text);
    EXPECT_EQ(Expand(GzipBytes(text) + GzipBytes("more"), piece), text + "more");
    EXPECT_EQ(Expand(ZstdBytes(text), piece), text);
    EXPECT_EQ(Expand(ZstdBytes(text) + ZstdBytes("more"), piece), text + "more");
  }
  EXPECT_EQ(Expand(GzipBytes(""), 100), "");
  EXPECT_EQ(Expand("", 100), "");
}

TEST(Decompressor, DamageIsCorruptAndNamesTheFile) {
  const std::string text = SomeText();
  for (const std::string& whole : {GzipBytes(text), ZstdBytes(text)}) {
    for (const size_t length : {size_t{4}, size_t{20}, whole.size() / 2, whole.size() - 1}) {
      ExpectError(ErrorKind::kCorrupt, {"FILE"}, [&] { Expand(whole.substr(0, length), 1000); });
    }
    ExpectError(ErrorKind::kCorrupt, {"FILE"}, [&] { Expand(whole + "garbage", 1000); });
  }
  std::string flipped = GzipBytes(text);
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 4);
  ExpectError(ErrorKind::kCorrupt, {"FILE"}, [&] { Expand(flipped, 1000); });
}

TEST(ForEachLineTest, ReadsCompressedFilesLineByLine) {
  const TempDir folder;
  const std::string text = SomeText();
  for (const std::string& bytes : {GzipBytes(text), ZstdBytes(text)}) {
    WriteFileAtomically(folder / "rows", bytes);
    std::string joined;
    ForEachLine(folder / "rows", [&](int64_t, std::string_view line) { joined += std::string(line) + "\n"; });
    EXPECT_EQ(joined, text);
  }
}

// A line that never ends is refused before it fills the memory: 80 MiB are 80 kB of gzip.
TEST(ForEachLineTest, ALineWithoutEndIsRefused) {
  const TempDir folder;
  std::string member = GzipBytes(std::string(size_t{1} << 22, 'a')), bomb;
  for (int i = 0; i < 20; ++i) bomb += member;
  WriteFileAtomically(folder / "rows.gz", bomb);
  ExpectError(ErrorKind::kInvalidInput, {"rows.gz", "line 1"},
              [&] { ForEachLine(folder / "rows.gz", [](int64_t, std::string_view) {}); });
}

}  // namespace
}  // namespace elrea
