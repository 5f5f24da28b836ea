// The scanners against their regular expressions, the behaviours of Split, and linear time.
#include "data/pretokenizer.h"

#include <gtest/gtest.h>

#include <chrono>

#include "core/error.h"
#include "core/rng.h"
#include "core/text.h"
#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

using Pieces = std::vector<std::string>;

Pieces Cut(const PreTokenizer& pre_tokenizer, const std::string& text) {
  std::vector<std::string_view> views;
  std::deque<std::string> rewritten;
  pre_tokenizer.Split(text, true, views, rewritten);
  return Pieces(views.begin(), views.end());
}

PreTokenizer FromText(const std::string& json) {
  return PreTokenizer::FromJson(ParseSortedJson(json, "test"), "test");
}

SortedJson SplitSection(const std::string& kind, const std::string& pattern, const std::string& behavior,
                        bool invert = false) {
  return {{"type", "Split"}, {"pattern", {{kind, pattern}}}, {"behavior", behavior}, {"invert", invert}};
}

// Characters on which every Unicode version agrees, with those the expressions treat apart well represented.
std::string RandomText(Rng& rng) {
  static const std::vector<std::string> kParts = {
      " ",  " ",   " ",  "  ",      "\n",  "\r\n", "\t",     "\r",     "\u00a0", "\u3000", "\u2028",
      "'",  "'s",  "'S", "'re",     "'LL", "'Ve",  "'d",     "'x",     "a",      "Z",      "é",
      "ф",  "日",  "ß",  "'\u017f", "0",   "7",    "42",     "1234",   "٣",      "²",      "Ⅷ",
      ".",  "!?",  "_",  "-",       "€",   "🙂", "\u0301", "\u200b", "\u180e", "\ufffd", "\u0001",
      "<|", "...", "e",  "l",       "L",   "\v",   "\u0085"};
  std::string text;
  for (uint64_t i = rng.Below(24); i > 0; --i) text += kParts[rng.Below(kParts.size())];
  return text;
}

class ScannerTwin : public testing::TestWithParam<ScannerKind> {};

TEST_P(ScannerTwin, EqualsItsExpression) {
  const PreTokenizer scanner(GetParam());
  // Parentheses keep the expression from being recognised, so PCRE2 runs it.
  SortedJson parts = SortedJson::array(
      {SplitSection("Regex", "(?:" + std::string(ScannerPattern(GetParam())) + ")", "Isolated")});
  if (GetParam() == ScannerKind::kSmolLm) {
    parts.insert(parts.begin(), SortedJson({{"type", "Digits"}, {"individual_digits", true}}));
  }
  const PreTokenizer twin = PreTokenizer::FromJson({{"type", "Sequence"}, {"pretokenizers", parts}}, "test");
  ASSERT_NE(twin.Description(), scanner.Description());
  Rng rng(static_cast<uint64_t>(GetParam()));
  for (int i = 0; i < 20000; ++i) {
    const std::string text = RandomText(rng);
    ASSERT_EQ(Cut(scanner, text), Cut(twin, text)) << text;
  }
}

TEST_P(ScannerTwin, TakesLinearTimeAndLosesNothing) {
  const PreTokenizer scanner(GetParam());
  for (const std::string part : {"a", " ", "\n", "1", ".", "é", "'s", " \n", "\u3000", " a"}) {
    std::string text;
    while (text.size() < 1 << 20) text += part;
    const auto begun = std::chrono::steady_clock::now();
    EXPECT_EQ(Join(Cut(scanner, text), ""), text);
    // Milliseconds when linear; a quadratic scan of a megabyte takes minutes.
    EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5)) << part;
  }
}
INSTANTIATE_TEST_SUITE_P(Kinds, ScannerTwin,
                         testing::Values(ScannerKind::kGpt2, ScannerKind::kSmolLm, ScannerKind::kLlama3,
                                         ScannerKind::kQwen2));

TEST(PreTokenizer, SmolLmLeavesSpacesBeforeDigitsAlone) {
  EXPECT_EQ(Cut(PreTokenizer(ScannerKind::kSmolLm), "\n\n 42 it's"),
            (Pieces{"\n\n ", "4", "2", " it", "'s"}));
  EXPECT_EQ(Cut(PreTokenizer(ScannerKind::kGpt2), "\n\n 42 it's"), (Pieces{"\n\n", " 42", " it", "'s"}));
  EXPECT_EQ(Cut(PreTokenizer(ScannerKind::kLlama3), "a1234\n\n b"), (Pieces{"a", "123", "4", "\n\n", " b"}));
  EXPECT_EQ(Cut(PreTokenizer(ScannerKind::kQwen2), "a1234\n\n b"),
            (Pieces{"a", "1", "2", "3", "4", "\n\n", " b"}));
}

TEST(PreTokenizer, DigitsThenByteLevelIsOneScanner) {
  auto made = FromText(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "add_prefix_space": false}]})");
  EXPECT_TRUE(made.TakeByteAlphabet());
  EXPECT_EQ(made.Description(), PreTokenizer::FromGgufName("smollm", "test").Description());
}

TEST(PreTokenizer, SplitBehaviors) {
  const auto cut = [](const std::string& behavior, bool invert, const std::string& text) {
    return Cut(PreTokenizer::FromJson(SplitSection("String", "-", behavior, invert), "test"), text);
  };
  // As in the documentation of the tokenizers library.
  const std::string text = "the-final--countdown";
  EXPECT_EQ(cut("Removed", false, text), (Pieces{"the", "final", "countdown"}));
  EXPECT_EQ(cut("Isolated", false, text), (Pieces{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(cut("MergedWithPrevious", false, text), (Pieces{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(cut("MergedWithNext", false, text), (Pieces{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(cut("Contiguous", false, text), (Pieces{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(cut("Removed", true, text), (Pieces{"-", "-", "-"}));
}

TEST(PreTokenizer, GgufNamesWeDoNotKnowAreListed) {
  try {
    PreTokenizer::FromGgufName("nonsense", "x.gguf");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    for (const char* part : {"x.gguf", "nonsense", "smollm", "llama-bpe", "qwen2", "gpt-2"}) {
      EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
    }
  }
}

TEST(TranslateExpression, WhiteSpaceInsideAndOutsideClasses) {
  const PreTokenizerRegex spaces("[\\sx]+|\\S\\[\\s", "test");
  const auto matches = spaces.FindAll(" x\u180e \u3000a[\tb");
  ASSERT_EQ(matches.size(), 3u);
  EXPECT_EQ(matches[0].end, 2u);  // U+180E is no white space
  EXPECT_EQ(matches[1].begin, 5u);
  EXPECT_EQ(matches[1].end, 9u);
  EXPECT_EQ(matches[2].end, 12u);
  const PreTokenizerRegex anything("[\\s\\S]", "test");
  EXPECT_EQ(anything.FindAll("a \u180e\U0010ffff").size(), 4u);
}

TEST(TranslateExpression, WhatOnigurumaMeansOtherwise) {
  EXPECT_EQ(TranslateExpression("[a[bc]d]e"), "[abcd]e");
  EXPECT_EQ(TranslateExpression("[^(x|[.,])]+"), "[^(x|.,)]+");
  EXPECT_EQ(TranslateExpression("[]a]b]"), "[]a]b]");
  EXPECT_EQ(TranslateExpression("[[:alpha:]x]\\[y]"), "[[:alpha:]x]\\[y]");
  EXPECT_EQ(TranslateExpression("[\\u200B\\uFEFF]\\u00ad"), "[\\x{200B}\\x{FEFF}]\\x{00ad}");
  EXPECT_EQ(TranslateExpression("\\p{Lt}+\\p{Foo}"), "\\p{Lt}+\\p{Foo}");
  const PreTokenizerRegex letters("\\p{L}+|[^\\s\\p{L}]", "test");
  EXPECT_EQ(letters.FindAll("\U00011bc0a\u1c89").size(), 1u);  // letters of Unicode 16
  EXPECT_EQ(PreTokenizerRegex("\\P{L}", "test").FindAll("\U00011bc0.").size(), 1u);
  EXPECT_EQ(TranslateExpression("\\h[\\h_]"), "[0-9A-Fa-f][0-9A-Fa-f_]");
  for (const char* refused : {"[a-z&&[aeiou]]", "[a[^b]]"}) {
    try {
      PreTokenizerRegex(refused, "x.json");
      FAIL() << refused;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
      EXPECT_NE(std::string(error.what()).find("x.json"), std::string::npos) << error.what();
    }
  }
}

TEST(CharClasses, KnowLettersNumbersAndSpaces) {
  const uint8_t* classes = CharClassTable();
  EXPECT_EQ(classes['a'], kLetterChar);
  EXPECT_EQ(classes['5'], kNumberChar | kNumericChar);
  EXPECT_EQ(classes[0x3000], kSpaceChar);
  EXPECT_EQ(classes[0x180e], 0);
  EXPECT_EQ(classes[0x11de0], kNumericChar);  // a digit of Unicode 17, which the expressions do not know yet
  EXPECT_EQ(classes[0x10ffff], 0);
}

}  // namespace
}  // namespace elrea
