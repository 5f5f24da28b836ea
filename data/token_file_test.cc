#include "data/token_file.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/damage.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

const Json kKey = {{"rows", "0123456789abcdef"}, {"max_tokens", 64}};

class TokenFileTest : public testing::Test {
 protected:
  TokenFileTest() {
    TokenFileWriter writer(path_);
    for (int32_t row = 0; row < 12; ++row) {
      const std::vector<int32_t> tokens(static_cast<size_t>(row), row);
      writer.Add(tokens, row / 2, row % 3 == 0 ? "sums" : "texts");
    }
    writer.Commit(kKey);
    good_ = ReadFile(path_);
  }
  std::optional<TokenFile> Open(const std::string& bytes) const {
    WriteUnsynced(path_, bytes);
    return OpenTokenFile(path_, kKey);
  }

  TempDir folder_;
  fs::path path_ = folder_ / "train.tokens";
  std::string good_;
};

TEST_F(TokenFileTest, RowsComeBack) {
  const auto file = OpenTokenFile(path_, kKey);
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->sources, (std::vector<std::string>{"sums", "texts"}));
  ASSERT_EQ(file->rows.size(), 12u);
  for (int32_t row = 0; row < 12; ++row) {
    const TokenRow& read = file->rows[static_cast<size_t>(row)];
    EXPECT_EQ(std::vector<int32_t>(read.tokens.begin(), read.tokens.end()), std::vector<int32_t>(static_cast<size_t>(row), row));
    EXPECT_EQ(read.num_prompt, row / 2);
    EXPECT_EQ(read.source_id, row % 3 == 0 ? 0 : 1);
  }
  EXPECT_FALSE(OpenTokenFile(path_, {{"rows", "of others"}}).has_value());
}

TEST_F(TokenFileTest, AnyDamageIsFound) {
  for (size_t size = 0; size < good_.size(); size += 9) EXPECT_FALSE(Open(good_.substr(0, size)).has_value()) << size;
  Rng rng(3);
  for (int i = 0; i < 100 * DamageEffort(); ++i) {
    std::string bad = good_;
    bad[rng.Below(bad.size())] ^= static_cast<char>(1 << rng.Below(8));
    EXPECT_FALSE(Open(bad).has_value()) << i;
  }
}

// Even where the checksum is right, no count in the file is believed.
TEST_F(TokenFileTest, CountsAreNotBelieved) {
  Rng rng(5);
  int refused = 0;
  for (int i = 0; i < 200 * DamageEffort(); ++i) {
    std::string bad = good_;
    const size_t body = bad.size() - sizeof(uint64_t);
    const uint64_t numbers[] = {0, 1, uint64_t{1} << 31, uint64_t{1} << 62, UINT64_MAX, UINT32_MAX};
    std::memcpy(&bad[8 + rng.Below(body - 16)], &numbers[rng.Below(6)], rng.Below(2) ? 8 : 4);
    const uint64_t sum = Checksum(std::string_view(bad).substr(0, body));
    std::memcpy(&bad[body], &sum, sizeof sum);
    const auto file = Open(bad);
    refused += !file.has_value();
    if (!file) continue;
    const auto* begin = file->rows.front().tokens.data();
    for (const TokenRow& row : file->rows) {
      EXPECT_LE(static_cast<size_t>(row.tokens.end() - begin) * sizeof(int32_t), body);
      EXPECT_LE(row.num_prompt, static_cast<int64_t>(row.tokens.size()));
      EXPECT_LT(static_cast<size_t>(row.source_id), file->sources.size());
    }
  }
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace elrea
