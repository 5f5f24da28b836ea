#include "data/ledger.h"

#include <gtest/gtest.h>

#include <sstream>

namespace elrea {
namespace {

DataLedger Sample() {
  DataLedger ledger;
  ledger.Count("math", RowFate::kKept, "a.jsonl", 1);
  ledger.Count("math", RowFate::kKept, "a.jsonl", 2);
  ledger.Count("chat", RowFate::kOverLong, "a.jsonl", 3, "2,310 tokens, the limit is 2,048");
  ledger.Count("math", RowFate::kMalformed, "b.jsonl", 7, "no 'output'");
  return ledger;
}

TEST(DataLedger, CountsPerSourceInOrderOfAppearance) {
  const DataLedger ledger = Sample();
  EXPECT_EQ(ledger.TotalRows(), 4);
  EXPECT_EQ(ledger.Total(RowFate::kKept), 2);
  const Json json = ledger.ToJson();
  EXPECT_EQ(json["sources"].begin().key(), "math");
  EXPECT_EQ(json["sources"]["math"]["kept"], 2);
  EXPECT_EQ(json["sources"]["math"]["malformed"], 1);
  EXPECT_EQ(json["sources"]["chat"]["over_long"], 1);
  EXPECT_EQ(json["over_long"], 1);
  EXPECT_EQ(json["rows"], 4);
  ASSERT_EQ(json["lines"].size(), 2u);
  EXPECT_EQ(json["lines"][1]["file"], "b.jsonl");
  EXPECT_EQ(json["lines"][1]["line"], 7);
  EXPECT_EQ(json["lines"][1]["fate"], "malformed");
}

TEST(DataLedger, TableShowsOccurringFatesTotalsAndLines) {
  const std::string table = Sample().ToTable();
  for (const char* part : {"source", "over long", "malformed", "math", "chat", "all",
                           "malformed: b.jsonl:7: no 'output'", "over_long: a.jsonl:3: 2,310 tokens"}) {
    EXPECT_NE(table.find(part), std::string::npos) << part << "\n" << table;
  }
  EXPECT_EQ(table.find("duplicate"), std::string::npos) << table;
  EXPECT_EQ(Sample().Summary(), "4 rows: 2 kept, 1 over_long, 1 malformed");
  EXPECT_EQ(Sample().FirstCulprits(RowFate::kMalformed, 3), "b.jsonl:7: no 'output'");
}

TEST(DataLedger, RemembersFirstLinesButCountsAll) {
  DataLedger ledger;
  const int64_t total = DataLedger::kMaxCulprits + 5;
  for (int64_t line = 1; line <= total; ++line) ledger.Count("s", RowFate::kDuplicate, "f", line);
  ledger.Count("s", RowFate::kMalformed, "f", total + 1, "bad");
  EXPECT_EQ(ledger.Total(RowFate::kDuplicate), total);
  const Json lines = ledger.ToJson()["lines"];
  EXPECT_EQ(static_cast<int64_t>(lines.size()),
            DataLedger::kMaxCulprits + 1);  // one flood does not hide another fate
  EXPECT_EQ(lines.back()["fate"], "malformed");
  EXPECT_NE(ledger.ToTable().find("duplicate: 1,002 more"), std::string::npos) << ledger.ToTable();
}

}  // namespace
}  // namespace elrea
