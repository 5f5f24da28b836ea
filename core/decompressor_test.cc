// Round trips through zlib and zstd themselves, at every size of piece, and damage.
#include "core/decompressor.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "core/expect_error.h"
#include "core/files.h"
#include "core/rng.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

std::string Gzip(const std::string& text) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(out.size() - z.avail_out);
  deflateEnd(&z);
  return out;
}

std::string Zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

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
    EXPECT_EQ(Expand(Gzip(text), piece), text);
    EXPECT_EQ(Expand(Gzip(text) + Gzip("more"), piece), text + "more");
    EXPECT_EQ(Expand(Zstd(text), piece), text);
    EXPECT_EQ(Expand(Zstd(text) + Zstd("more"), piece), text + "more");
  }
  EXPECT_EQ(Expand(Gzip(""), 100), "");
  EXPECT_EQ(Expand("", 100), "");
}

TEST(Decompressor, DamageIsCorruptAndNamesTheFile) {
  const std::string text = SomeText();
  for (const std::string& whole : {Gzip(text), Zstd(text)}) {
    for (const size_t length : {size_t{4}, size_t{20}, whole.size() / 2, whole.size() - 1}) {
      ExpectError(ErrorKind::kCorrupt, {"FILE"}, [&] { Expand(whole.substr(0, length), 1000); });
    }
    ExpectError(ErrorKind::kCorrupt, {"FILE"}, [&] { Expand(whole + "garbage", 1000); });
  }
  std::string flipped = Gzip(text);
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 4);
  ExpectError(ErrorKind::kCorrupt, {"FILE"}, [&] { Expand(flipped, 1000); });
}

TEST(ForEachLineTest, ReadsCompressedFilesLineByLine) {
  const TempDir folder;
  const std::string text = SomeText();
  for (const std::string& bytes : {Gzip(text), Zstd(text)}) {
    WriteFileAtomically(folder / "rows", bytes);
    std::string joined;
    ForEachLine(folder / "rows", [&](int64_t, std::string_view line) { joined += std::string(line) + "\n"; });
    EXPECT_EQ(joined, text);
  }
}

// A line that never ends is refused before it fills the memory: 80 MiB are 80 kB of gzip.
TEST(ForEachLineTest, ALineWithoutEndIsRefused) {
  const TempDir folder;
  std::string member = Gzip(std::string(size_t{1} << 22, 'a')), bomb;
  for (int i = 0; i < 20; ++i) bomb += member;
  WriteFileAtomically(folder / "rows.gz", bomb);
  ExpectError(ErrorKind::kInvalidInput, {"rows.gz", "line 1"},
              [&] { ForEachLine(folder / "rows.gz", [](int64_t, std::string_view) {}); });
}

}  // namespace
}  // namespace elrea
