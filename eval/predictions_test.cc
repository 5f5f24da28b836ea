#include "eval/predictions.h"

#include <gtest/gtest.h>

#include "core/damage.h"
#include "core/error.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

Prediction Numbered(int64_t row) {
  Prediction p;
  p.row = row;
  p.source = "sums";
  p.gold = "4";
  p.response = "It is \xC3\xA9 \"4\".\n";
  p.answer = "4";
  p.correct = row % 2 == 0;
  p.finish_reason = "stop";
  p.num_tokens = 5;
  if (row % 3 == 0) {
    p.base_weight = 0.25;
    p.expert_weights = {0.1, 0.9};
  }
  return p;
}

std::vector<Prediction> Chunk(int64_t begin, int64_t end) {
  std::vector<Prediction> chunk;
  for (int64_t row = begin; row < end; ++row) chunk.push_back(Numbered(row));
  return chunk;
}

class PredictionLogTest : public testing::Test {
 protected:
  TempDir dir_;
  fs::path path_ = dir_ / "answers" / "base.jsonl";
};

TEST_F(PredictionLogTest, ReadsBackWhatItWrote) {
  PredictionLog(path_, 5, 2).Append(Chunk(0, 2));
  const PredictionLog again(path_, 5, 2);
  ASSERT_EQ(again.finished().size(), 2u);
  for (int64_t row = 0; row < 2; ++row) {
    EXPECT_EQ(JsonLine(PredictionJson(again.finished()[row])), JsonLine(PredictionJson(Numbered(row))));
  }
}

TEST_F(PredictionLogTest, GoesOnAfterTheLastWholeChunkWithEqualBytes) {
  {
    PredictionLog log(path_, 5, 2);
    for (int64_t begin = 0; begin < 5; begin += 2) log.Append(Chunk(begin, std::min<int64_t>(begin + 2, 5)));
  }
  const std::string whole = ReadFile(path_);
  for (size_t cut = 0; cut <= whole.size(); cut += 7) {
    WriteFileAtomically(path_, whole.substr(0, cut));
    PredictionLog log(path_, 5, 2);
    const auto done = static_cast<int64_t>(log.finished().size());
    ASSERT_TRUE(done % 2 == 0 || done == 5) << done;
    for (int64_t begin = done; begin < 5; begin += 2)
      log.Append(Chunk(begin, std::min<int64_t>(begin + 2, 5)));
    EXPECT_EQ(ReadFile(path_), whole) << "cut at byte " << cut;
  }
}

TEST_F(PredictionLogTest, RefusesADamagedLineByItsNumber) {
  PredictionLog(path_, 5, 2).Append(Chunk(0, 2));
  std::string text = ReadFile(path_);
  text[text.find('\n') + 3] = '\x01';
  WriteFileAtomically(path_, text);
  try {
    PredictionLog log(path_, 5, 2);
    FAIL() << "read a damaged line";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    EXPECT_NE(std::string(error.what()).find("base.jsonl:2"), std::string::npos) << error.what();
  }
}

TEST_F(PredictionLogTest, DamagedLogsAreReadOrRefused) {
  {
    PredictionLog log(path_, 5, 2);
    for (int64_t begin = 0; begin < 5; begin += 2) log.Append(Chunk(begin, std::min<int64_t>(begin + 2, 5)));
  }
  const DamageCounts counts = ReadDamaged(path_, path_.string(), {.cut_every = 5, .flips = 300}, [&] {
    EXPECT_LE(PredictionLog(path_, 5, 2).finished().size(), 5u);
  });
  EXPECT_GT(counts.refused, 50);
}

TEST_F(PredictionLogTest, RefusesRowsOutOfPlace) {
  PredictionLog(path_, 5, 2).Append(Chunk(1, 3));
  EXPECT_THROW(PredictionLog(path_, 5, 2), Error);
}

}  // namespace
}  // namespace elrea
