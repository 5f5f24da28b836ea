#include "core/text.h"

#include <gtest/gtest.h>

#include "core/rng.h"

namespace elrea {
namespace {

using namespace std::string_literals;

const std::string kReplacement = "\xEF\xBF\xBD";

TEST(Utf8Test, ValidTextIsLeftAlone) {
  for (const std::string& text :
       {""s, "abc"s, "a\0b"s, "é"s, "你好"s, "🙂"s, "\xF4\x8F\xBF\xBF"s, "\xEE\x80\x80"s}) {
    EXPECT_TRUE(IsValidUtf8(text)) << text;
    EXPECT_EQ(ReplaceInvalidUtf8(text), text);
  }
}

// Expected texts from Python: bytes.decode("utf-8", errors="replace").
TEST(Utf8Test, InvalidSequencesBecomeReplacementsAsInPython) {
  const auto r = kReplacement;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\x80", r},                          // lone continuation
      {"a\xFFz", "a" + r + "z"},            // never a lead byte
      {"\xC0\xAF", r + r},                  // overlong slash
      {"\xE0\x80\xAF", r + r + r},          // overlong in three bytes
      {"\xED\xA0\x80", r + r + r},          // surrogate
      {"\xF0\x80\x80\x80", r + r + r + r},  // overlong in four bytes
      {"\xF4\x90\x80\x80", r + r + r + r},  // above U+10FFFF
      {"\xE2\x82", r},                      // cut at the end: one maximal sequence
      {"\xE2\x82z", r + "z"},               // cut by another character
      {"\xF0\x9F\x99z", r + "z"},           //
      {"\xF0\x9F\xE2\x82\xAC", r + "€"},    //
      {"\xE2\xE2\x82\xAC", r + "€"},        //
      {"\xF5\x80", r + r},                  //
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_FALSE(IsValidUtf8(text));
    EXPECT_EQ(ReplaceInvalidUtf8(text), expected);
  }
}

TEST(Utf8Test, RandomBytesAlwaysComeOutValid) {
  Rng rng(1);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (uint64_t i = 0, n = rng.Below(12); i < n; ++i) {
      text += static_cast<char>(rng.Below(4) == 0 ? rng.Below(128) : 128 + rng.Below(128));
    }
    const std::string repaired = ReplaceInvalidUtf8(text);
    EXPECT_TRUE(IsValidUtf8(repaired));
    EXPECT_EQ(repaired == text, IsValidUtf8(text));
    EXPECT_LE(CompleteUtf8Prefix(text), text.size());
    EXPECT_GE(CompleteUtf8Prefix(text) + 3, text.size());
  }
}

TEST(Utf8Test, CompletePrefixHoldsBackOnlyAnUnfinishedCharacter) {
  const std::string text = "a€🙂";  // 1 + 3 + 4 bytes
  const std::vector<size_t> expected = {0, 1, 1, 1, 4, 4, 4, 4, 8};
  for (size_t length = 0; length <= text.size(); ++length) {
    EXPECT_EQ(CompleteUtf8Prefix(text.substr(0, length)), expected[length]) << length;
  }
  EXPECT_EQ(CompleteUtf8Prefix("a\xFF"), 2u);     // cannot become a character: not held back
  EXPECT_EQ(CompleteUtf8Prefix("\xED\xA0"), 2u);  // nor can half a surrogate
  EXPECT_EQ(CompleteUtf8Prefix("\x80\x80\x80"), 3u);
  EXPECT_EQ(CompleteUtf8Prefix("é\x80"), 3u);
}

TEST(TextTest, TrimSplitJoin) {
  EXPECT_EQ(Trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(Trim(" \n"), "");
  EXPECT_EQ(Trim("\xC2\xA0x"), "\xC2\xA0x");  // only ASCII white space
  EXPECT_EQ(Split("a,,b,", ','), (std::vector<std::string>{"a", "", "b", ""}));
  EXPECT_EQ(Split("", ','), (std::vector<std::string>{""}));
  EXPECT_EQ(Join({"a", "", "b"}, ", "), "a, , b");
  EXPECT_EQ(Join({}, ", "), "");
}

TEST(TextTest, NearestNameFindsSlipsAndNothingElse) {
  const std::vector<std::string> names = {"threshold", "num_clusters", "lr", "epochs"};
  EXPECT_EQ(NearestName("treshold", names), "threshold");
  EXPECT_EQ(NearestName("Threshold", names), "threshold");
  EXPECT_EQ(NearestName("num-cluster", names), "num_clusters");
  EXPECT_EQ(NearestName("l", names), "lr");
  EXPECT_EQ(NearestName("rank", names), std::nullopt);
  EXPECT_EQ(NearestName("", names), std::nullopt);
  EXPECT_EQ(NearestName("k", names), std::nullopt);
  EXPECT_EQ(NearestName(std::string(100000, 'x'), names), std::nullopt);
  EXPECT_EQ(NearestName("x", {}), std::nullopt);
}

TEST(TextTest, FormatBytes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(FormatBytes(1503238554), "1.4 GiB");
  EXPECT_EQ(FormatBytes(UINT64_MAX), "16.0 EiB");
}

TEST(TextTest, FormatDuration) {
  EXPECT_EQ(FormatDuration(0.0004), "0 ms");
  EXPECT_EQ(FormatDuration(0.25), "250 ms");
  EXPECT_EQ(FormatDuration(0.9996), "1.0 s");
  EXPECT_EQ(FormatDuration(3.21), "3.2 s");
  EXPECT_EQ(FormatDuration(59.94), "59.9 s");
  EXPECT_EQ(FormatDuration(59.96), "1 min 00 s");
  EXPECT_EQ(FormatDuration(245), "4 min 05 s");
  EXPECT_EQ(FormatDuration(3599.6), "1 h 00 min");
  EXPECT_EQ(FormatDuration(7800), "2 h 10 min");
  EXPECT_EQ(FormatDuration(-1), "?");
  EXPECT_EQ(FormatDuration(0.0 / 0.0), "?");
}

TEST(TextTest, FormatCount) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(12345), "12,345");
  EXPECT_EQ(FormatCount(-1234567), "-1,234,567");
  EXPECT_EQ(FormatCount(-123), "-123");
  EXPECT_EQ(FormatCount(INT64_MIN), "-9,223,372,036,854,775,808");
}

TEST(TextTest, FormatTableAlignsNumbersRightAndTextLeft) {
  EXPECT_EQ(
      FormatTable({{"method", "n", "accuracy"}, {"base", "400", "12.5% ± 3.2"}, {"ensemblé", "7", "-"}}),
      "method      n     accuracy\n"
      "--------  ---  -----------\n"
      "base      400  12.5% ± 3.2\n"
      "ensemblé    7            -\n");
}

TEST(TextTest, FormatTableTakesRaggedRowsAndLineBreaks) {
  EXPECT_EQ(FormatTable({{"a", "b"}, {"x\ny"}}), "a    b\n---  -\nx y\n");
  EXPECT_EQ(FormatTable({}), "");
  EXPECT_EQ(FormatTable({{"only"}}), "only\n----\n");
}

}  // namespace
}  // namespace elrea
