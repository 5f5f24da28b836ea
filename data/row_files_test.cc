#include "data/row_files.h"

#include <gtest/gtest.h>

#include "core/damage.h"
#include "core/expect_error.h"
#include "core/json.h"
#include "core/rng.h"
#include "core/temp_dir.h"
#include "core/testing_compression.h"
#include "data/dataset.h"

namespace elrea {
namespace {

struct Read {
  std::vector<std::pair<int64_t, Json>> rows;
  std::vector<std::pair<int64_t, std::string>> faults;
  int64_t num_rows = 0;
};

Read ReadText(const std::string& name, const std::string& text,
              const std::vector<std::string>& columns = {}) {
  const TempDir folder;
  WriteUnsynced(folder / name, text);
  Read read;
  read.num_rows = ForEachDataRow(
      folder / name, ParseColumns(columns),
      {[&](int64_t number, std::string_view json) { read.rows.emplace_back(number, ParseJson(json, "row")); },
       [&](int64_t number, const std::string& why) { read.faults.emplace_back(number, why); }});
  return read;
}

TEST(DataRows, CsvFollowsRfc4180) {
  const Read read = ReadText("rows.csv",
                             "\xEF\xBB\xBFinstruction,output,note\r\n"
                             "2 + 2?,4,\r\n"
                             "\"a, b\",\"say \"\"hi\"\"\n\nend\",x\n"
                             "\n"
                             "\"\",\"\"\"\",é\n");
  EXPECT_TRUE(read.faults.empty());
  ASSERT_EQ(read.rows.size(), 3u);
  EXPECT_EQ(read.rows[0],
            std::pair(int64_t{2}, Json({{"instruction", "2 + 2?"}, {"output", "4"}, {"note", ""}})));
  EXPECT_EQ(
      read.rows[1],
      std::pair(int64_t{3}, Json({{"instruction", "a, b"}, {"output", "say \"hi\"\n\nend"}, {"note", "x"}})));
  EXPECT_EQ(read.rows[2],
            std::pair(int64_t{7}, Json({{"instruction", ""}, {"output", "\""}, {"note", "é"}})));
  const Read tabs = ReadText("rows.tsv", "instruction\toutput\na, b\t\"c\td\"\n");
  ASSERT_EQ(tabs.rows.size(), 1u);
  EXPECT_EQ(tabs.rows[0].second, Json({{"instruction", "a, b"}, {"output", "c\td"}}));
}

TEST(DataRows, BrokenCsvRowsAreFaultsWithTheirLine) {
  const Read read = ReadText("rows.csv", "instruction,output\na\nb,c,d\n\"e\"f,g\nh,\xFF\ni,j\nk,\"l\nm");
  ASSERT_EQ(read.rows.size(), 1u);
  EXPECT_EQ(read.rows[0].first, 6);
  const std::vector<std::pair<int64_t, std::string>> expected = {{2, "1 fields, the header has 2"},
                                                                 {3, "3 fields, the header has 2"},
                                                                 {4, "text behind a closing quote"},
                                                                 {5, "not valid UTF-8"},
                                                                 {7, "a quote is not closed"}};
  EXPECT_EQ(read.faults, expected);
  EXPECT_EQ(read.num_rows, 6);
  ExpectError(ErrorKind::kInvalidInput, {"rows.csv", "\"a\" is there twice"},
              [] { ReadText("rows.csv", "a,b,a\n1,2,3\n"); });
}

TEST(DataRows, ColumnsPlayTheirParts) {
  const std::vector<std::string> columns = {"instruction=question", "output = gold text"};
  const Read csv = ReadText("rows.csv", "id,question,gold text\n1,q,a\n", columns);
  ASSERT_EQ(csv.rows.size(), 1u);
  EXPECT_EQ(csv.rows[0].second, Json({{"id", "1"}, {"instruction", "q"}, {"output", "a"}}));
  const Read json = ReadText(
      "rows.jsonl", "{\"question\": \"q\", \"gold text\": \"a\", \"output\": \"hidden\"}\n[1]\n{\n", columns);
  ASSERT_EQ(json.rows.size(), 1u);
  EXPECT_EQ(json.rows[0].second, Json({{"instruction", "q"}, {"output", "a"}}));
  EXPECT_EQ(json.faults.size(), 2u);
  ExpectError(ErrorKind::kInvalidInput, {"no column \"gold text\"", "id, instruction"},
              [&] { ReadText("rows.csv", "id,question\n1,q\n", columns); });
  for (const char* bad : {"question", "instruction=", "=x", "prompt=x"}) {
    ExpectError(ErrorKind::kInvalidInput, {bad, "one of instruction"}, [&] { ParseColumns({bad}); });
  }
  ExpectError(ErrorKind::kInvalidInput, {"second time"}, [] { ParseColumns({"input=a", "input=b"}); });
}

TEST(DataRows, StemsAreWithoutEveryEnding) {
  EXPECT_EQ(DataFileStem("a/rows.jsonl"), "rows");
  EXPECT_EQ(DataFileStem("a/rows.csv.gz"), "rows");
  EXPECT_EQ(DataFileStem("rows.v2.jsonl.zst"), "rows.v2");
  EXPECT_EQ(DataFileStem("rows"), "rows");
}

// Whatever the bytes: rows, faults or an Error.
TEST(DataRows, RandomBytesNeverDoWorseThanAnError) {
  Rng rng(9);
  static constexpr std::string_view kBytes = "\"\",,\n\r\t{}:[]ax1\xC3\xA9\xFF\x1F\x8B\x28\xB5\x2F\xFD";
  for (int i = 0; i < 400 * DamageEffort(); ++i) {
    std::string text = i % 2 ? "instruction,output\n" : "";
    for (uint64_t size = rng.Below(200); size > 0; --size) text += kBytes[rng.Below(kBytes.size())];
    try {
      const Read read = ReadText(i % 4 < 2 ? "rows.csv" : "rows.jsonl", text, {});
      EXPECT_EQ(read.num_rows, static_cast<int64_t>(read.rows.size() + read.faults.size()));
    } catch (const Error&) {
    }
  }
}

// Cut or flipped files of every kind: rows and faults, or an Error that names the file. What is compressed and cut is
// always an error: rows would be missing without a word.
TEST(DataRows, DamagedFilesNeverLoseRowsInSilence) {
  const TempDir folder;
  std::string lines, csv = "instruction,output\n";
  for (int i = 0; i < 60; ++i) {
    lines += "{\"instruction\": \"add " + std::to_string(i * i) + "\", \"output\": \"x\"}\n";
    csv += "\"add " + std::to_string(i * i) + "\",x\n";
  }
  const std::pair<const char*, std::string> files[] = {
      {"rows.jsonl", lines}, {"rows.csv", csv}, {"rows.jsonl.gz", GzipBytes(lines)}, {"rows.csv.zst", ZstdBytes(csv)}};
  for (const auto& [name, bytes] : files) {
    const fs::path path = folder / name;
    WriteUnsynced(path, bytes);
    int64_t total = 0;
    const DamageOptions options{.cut_every = bytes.size() / 60 + 1, .flips = 150};
    const DamageCounts counts = ReadDamaged(path, name, options, [&] {
      const RowSinks count = {[&](int64_t, std::string_view) { ++total; }, [&](int64_t, const std::string&) { ++total; }};
      ForEachDataRow(path, {}, count);
    });
    const bool compressed = path.extension() == ".gz" || path.extension() == ".zst";
    if (compressed) {
      EXPECT_GE(counts.refused, counts.cuts * 9 / 10) << name;
    }
    EXPECT_GT(total, 1000) << name;
  }
}

}  // namespace
}  // namespace elrea
