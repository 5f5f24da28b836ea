// The best cut against all cuts, and what becomes of characters that the vocabulary lacks.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/rng.h"
#include "data/tokenizer_testing.h"

namespace elrea {
namespace {

using Tokens = std::vector<int32_t>;

SortedJson UnigramJson(const std::vector<std::pair<std::string, double>>& pieces) {
  SortedJson vocab = SortedJson::array();
  for (const auto& [piece, score] : pieces) vocab.push_back({piece, score});
  return {{"model", {{"type", "Unigram"}, {"unk_id", 0}, {"vocab", vocab}}}};
}

// The largest sum of scores over all ways to cut `text` into pieces; characters are bytes here.
double BestSum(const std::vector<std::pair<std::string, double>>& pieces, const std::string& text) {
  if (text.empty()) return 0;
  double best = -std::numeric_limits<double>::infinity();
  for (size_t id = 1; id < pieces.size(); ++id) {
    const auto& [piece, score] = pieces[id];
    if (text.starts_with(piece)) best = std::max(best, score + BestSum(pieces, text.substr(piece.size())));
  }
  return best;
}

TEST(Unigram, SumOfScoresIsTheLargestOfAllCuts) {
  Rng rng(5);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::pair<std::string, double>> pieces = {{"<unk>", 0.0}, {"a", -4}, {"b", -4.5}, {"c", -5}};
    for (int i = 0; i < 12; ++i) {
      std::string piece;
      for (uint64_t n = 2 + rng.Below(3); n > 0; --n) piece += static_cast<char>('a' + rng.Below(3));
      const bool known =
          std::any_of(pieces.begin(), pieces.end(), [&](const auto& other) { return other.first == piece; });
      if (!known) pieces.emplace_back(piece, -1 - static_cast<double>(rng.Below(1000)) / 100);
    }
    const auto tokenizer = LoadJsonTokenizer(UnigramJson(pieces));
    for (int i = 0; i < 20; ++i) {
      std::string text;
      for (uint64_t n = 1 + rng.Below(9); n > 0; --n) text += static_cast<char>('a' + rng.Below(3));
      double sum = 0;
      std::string joined;
      for (const int32_t token : tokenizer->Encode(text, SpecialTokens::kParse)) {
        sum += pieces[static_cast<size_t>(token)].second;
        joined += pieces[static_cast<size_t>(token)].first;
      }
      EXPECT_EQ(joined, text);
      EXPECT_NEAR(sum, BestSum(pieces, text), 1e-9) << text;
    }
  }
}

TEST(Unigram, RunsOfUnknownCharactersAreOneToken) {
  SortedJson root = UnigramJson({{"<unk>", 0.0}, {"a", -1}, {"<0xC3>", -9}, {"<0xA9>", -9}});
  const auto encode = [&](const std::string& text) {
    return LoadJsonTokenizer(root)->Encode(text, SpecialTokens::kParse);
  };
  EXPECT_EQ(encode("axyza"), (Tokens{1, 0, 1}));
  EXPECT_EQ(encode("\u00e9a"), (Tokens{0, 1}));
  root["model"]["byte_fallback"] = true;
  EXPECT_EQ(encode("\u00e9\u00e9a"), (Tokens{2, 3, 2, 3, 1}));
  EXPECT_EQ(encode("\u00e9xa"), (Tokens{0, 1}));  // a run is spelled in bytes as a whole or not at all
}

TEST(Unigram, WithoutAnUnknownTokenUnknownCharactersAreAnError) {
  SortedJson root = UnigramJson({{"a", -1}});
  root["model"]["unk_id"] = nullptr;
  const auto tokenizer = LoadJsonTokenizer(root);
  EXPECT_EQ(tokenizer->Encode("aa", SpecialTokens::kParse), (Tokens{0, 0}));
  try {
    tokenizer->Encode("ab", SpecialTokens::kParse);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    EXPECT_NE(error.message().find("unk_id"), std::string::npos) << error.message();
  }
}

}  // namespace
}  // namespace elrea
