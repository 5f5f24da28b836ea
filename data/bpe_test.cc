// Merging against the textbook algorithm, the word cache, and long words.
#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "core/rng.h"
#include "data/bpe_cache.h"
#include "data/bpe_merges.h"
#include "data/bpe_vocabulary.h"
#include "data/tokenizer_testing.h"

namespace elrea {
namespace {

using Table = std::map<std::pair<int32_t, int32_t>, MergeTable::Merge>;

// The definition: while any neighbours merge, merge the leftmost of those with the lowest rank.
std::vector<int32_t> NaiveMerge(const Table& table, std::vector<int32_t> tokens) {
  for (;;) {
    size_t best = tokens.size();
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto found = table.find({tokens[i], tokens[i + 1]});
      if (found == table.end()) continue;
      if (best == tokens.size() || found->second.rank < table.at({tokens[best], tokens[best + 1]}).rank)
        best = i;
    }
    if (best == tokens.size()) return tokens;
    tokens[best] = table.at({tokens[best], tokens[best + 1]}).token;
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(BpeMerger, EqualsTheDefinition) {
  Rng rng(3);
  for (int round = 0; round < 200; ++round) {
    // Few symbols and many merges, so that candidates overlap and go stale.
    Table naive;
    MergeTable table;
    int32_t next = 3;
    for (uint32_t rank = 0; rank < 25; ++rank) {
      const auto left = static_cast<int32_t>(rng.Below(static_cast<uint64_t>(next)));
      const auto right = static_cast<int32_t>(rng.Below(static_cast<uint64_t>(next)));
      if (naive.count({left, right}) > 0) continue;
      naive[{left, right}] = {rank, next};
      table.Add(left, right, {rank, next});
      ++next;
    }
    BpeMerger merger;
    for (int word = 0; word < 20; ++word) {
      std::vector<int32_t> tokens(rng.Below(40));
      merger.Clear();
      for (int32_t& token : tokens) {
        token = static_cast<int32_t>(rng.Below(3));
        merger.Push(token, 1);
      }
      std::vector<int32_t> merged;
      merger.Run(table, merged);
      ASSERT_EQ(merged, NaiveMerge(naive, tokens));
    }
  }
}

TEST(MergeTable, FindsWhatWasAddedAndNothingElse) {
  MergeTable table;
  EXPECT_EQ(table.Find(0, 0), nullptr);
  for (int32_t i = 0; i < 5000; ++i) table.Add(i, 2 * i, {static_cast<uint32_t>(i), i + 1});
  table.Add(7, 14, {9, 1});  // again: the later counts
  EXPECT_EQ(table.size(), 5000u);
  for (int32_t i = 0; i < 5000; ++i) {
    ASSERT_NE(table.Find(i, 2 * i), nullptr);
    EXPECT_EQ(table.Find(i, 2 * i)->token, i == 7 ? 1 : i + 1);
    EXPECT_EQ(table.Find(i, 2 * i + 1), nullptr);
  }
}

TEST(WordCache, ReturnsWhatWasInsertedUntilItStartsAnew) {
  WordCache cache;
  const auto word_of = [](int i) { return "word" + std::to_string(i); };
  int found = 0;
  for (int i = 0; i < 120000; ++i) {  // more than it holds
    const std::string word = word_of(i);
    ASSERT_FALSE(cache.Find(word, HashBytes(word)).has_value());
    const std::vector<int32_t> tokens = {i, -i};
    cache.Insert(word, HashBytes(word), tokens);
    const std::string earlier = word_of(i / 2);
    const auto known = cache.Find(earlier, HashBytes(earlier));
    if (!known) continue;
    ++found;
    ASSERT_EQ(std::vector<int32_t>(known->begin(), known->end()), (std::vector<int32_t>{i / 2, -(i / 2)}));
  }
  EXPECT_GT(found, 40000);
}

TEST(WordCache, EqualHashesAreToldApart) {
  WordCache cache;
  cache.Insert("one", 5, std::vector<int32_t>{1});
  EXPECT_FALSE(cache.Find("two", 5).has_value());
  cache.Insert("two", 5, std::vector<int32_t>{2});
  EXPECT_EQ((*cache.Find("one", 5))[0], 1);
  EXPECT_EQ((*cache.Find("two", 5))[0], 2);
}

// A megabyte without a space, and pieces of every kind, must not take quadratic time.
TEST(BpeTokenizer, LongLinesTakeNearlyLinearTime) {
  for (const char* variant : {"smollm", "gemma", "flags"}) {
    const auto tokenizer = LoadJsonTokenizer(TinyTokenizerJson(variant));
    for (const std::string part : {"a", "the", " ", "🙂", "<|im_star"}) {
      std::string text;
      while (text.size() < 1 << 20) text += part;
      const auto begun = std::chrono::steady_clock::now();
      const auto tokens = tokenizer->Encode(text, SpecialTokens::kParse);
      EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(20)) << variant << " " << part;
      EXPECT_EQ(tokenizer->Decode(tokens, false), text) << variant << " " << part;
    }
  }
}

}  // namespace
}  // namespace elrea
