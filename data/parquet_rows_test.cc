#include "data/parquet_rows.h"

#include <gtest/gtest.h>

#include "core/damage.h"
#include "core/expect_error.h"
#include "core/temp_dir.h"
#include "data/row_files.h"

namespace elrea {
namespace {

fs::path Golden(const std::string& name) {
  return fs::path(ELREA_SOURCE_DIR) / "tests/golden/parquet" / name;
}

struct Read {
  std::vector<Json> rows;
  std::vector<std::pair<int64_t, std::string>> faults;
  int64_t num_rows = 0;
};

Read ReadRows(const fs::path& path, const std::vector<std::string>& columns = {}) {
  Read read;
  read.num_rows = ForEachDataRow(
      path, ParseColumns(columns),
      {[&](int64_t, std::string_view json) { read.rows.push_back(ParseJson(json, "row")); },
       [&](int64_t number, const std::string& why) { read.faults.emplace_back(number, why); }});
  return read;
}

#ifdef ELREA_PARQUET

TEST(ParquetRows, AreTheRowsThatArrowsOwnReaderGives) {
  for (const char* name : {"plain_none", "plain_snappy", "plain_gzip", "plain_zstd", "plain_brotli",
                           "plain_lz4", "plain_v2", "messages"}) {
    const std::string file = name;
    const Read read = ReadRows(Golden(file + ".parquet"));
    const Read expected = ReadRows(Golden(file.substr(0, file.find('_')) + ".jsonl"));
    EXPECT_EQ(read.num_rows, 5) << file;
    EXPECT_EQ(read.rows, expected.rows) << file;
    EXPECT_TRUE(read.faults.empty()) << file;
  }
}

TEST(ParquetRows, ColumnsPlayTheirParts) {
  const Read read = ReadRows(Golden("plain_zstd.parquet"), {"instruction=output", "output=input"});
  ASSERT_EQ(read.rows.size(), 5u);
  EXPECT_EQ(read.rows[1],
            Json({{"output", "x"}, {"instruction", "size"}, {"answer", nullptr}, {"source", "words"}}));
  ExpectError(ErrorKind::kInvalidInput, {"plain_v2.parquet", "no column \"question\"", "instruction, input"},
              [] { ReadRows(Golden("plain_v2.parquet"), {"instruction=question"}); });
}

TEST(ParquetRows, ValuesThatRowsCannotHold) {
  const Read read = ReadRows(Golden("odd.parquet"));  // its times are not looked at
  ASSERT_EQ(read.rows.size(), 1u);
  EXPECT_EQ(read.rows[0], Json({{"instruction", "fine"}, {"answer", 1.5}}));
  const std::vector<std::pair<int64_t, std::string>> faults = {
      {2, "the column \"instruction\" is not valid UTF-8"}, {3, "the column \"answer\" holds inf"}};
  EXPECT_EQ(read.faults, faults);
  EXPECT_EQ(read.num_rows, 3);
  ExpectError(ErrorKind::kInvalidInput, {"times.parquet", "\"output\"", "timestamp"},
              [] { ReadRows(Golden("times.parquet")); });
}

TEST(ParquetRows, FilesThatAreNone) {
  const TempDir folder;
  ExpectError(ErrorKind::kNotFound, {"none.parquet"}, [&] { ReadRows(folder / "none.parquet"); });
  for (const std::string text : {"", "PAR1", "PAR1\xFF\xFF\xFF\x7FPAR1", "{\"instruction\": 1}\n"}) {
    WriteFileAtomically(folder / "bad.parquet", text);
    ExpectError(ErrorKind::kCorrupt, {"bad.parquet", "Parquet"}, [&] { ReadRows(folder / "bad.parquet"); });
  }
}

// Rows, faults or an Error that names the file, whatever the bytes.
TEST(ParquetRows, DamagedFiles) {
  const TempDir folder;
  for (const char* name : {"plain_snappy.parquet", "messages.parquet", "plain_v2.parquet"}) {
    const fs::path path = folder / name;
    fs::copy_file(Golden(name), path);
    const DamageCounts counts = ReadDamaged(path, name, {.cut_every = 11, .flips = 300}, [&] {
      const Read read = ReadRows(path);
      EXPECT_EQ(read.num_rows, static_cast<int64_t>(read.rows.size() + read.faults.size()));
    });
    EXPECT_GE(counts.refused, static_cast<int>(fs::file_size(path) / 11)) << name;  // every truncation
  }
}

#else

TEST(ParquetRows, AreRefusedInABuildWithoutThem) {
  ExpectError(ErrorKind::kUnavailable, {"messages.parquet", "to_json"},
              [] { ReadRows(Golden("messages.parquet")); });
}

#endif

}  // namespace
}  // namespace elrea
