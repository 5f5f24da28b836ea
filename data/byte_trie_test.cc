// The trie against a look at every key.
#include "data/byte_trie.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "core/rng.h"

namespace elrea {
namespace {

using Found = std::vector<std::pair<size_t, int32_t>>;

Found Prefixes(const ByteTrie& trie, std::string_view text) {
  Found found;
  trie.ForEachPrefix(text, [&](size_t num_bytes, int32_t value) { found.emplace_back(num_bytes, value); });
  return found;
}

std::string RandomBytes(Rng& rng, uint64_t alphabet, uint64_t max_length) {
  std::string bytes;
  for (uint64_t i = rng.Below(max_length); i > 0; --i)
    bytes += static_cast<char>(rng.Below(alphabet) * (256 / alphabet));
  return bytes;
}

TEST(ByteTrie, FindsTheKeysThatBeginAText) {
  Rng rng(3);
  for (const uint64_t alphabet : {2, 16, 256}) {
    std::vector<std::string> texts;
    for (int i = 0; i < 3000; ++i) texts.push_back(RandomBytes(rng, alphabet, 8));
    std::map<std::string, int32_t> expected;
    std::vector<std::pair<std::string_view, int32_t>> keys;
    for (size_t i = 0; i < texts.size(); ++i) {
      keys.emplace_back(texts[i], static_cast<int32_t>(i));
      if (!texts[i].empty()) expected[texts[i]] = static_cast<int32_t>(i);  // of equal keys the last counts
    }
    const ByteTrie trie(keys);
    for (int i = 0; i < 3000; ++i) {
      const std::string text = RandomBytes(rng, alphabet, 12);
      Found wanted;
      for (size_t length = 1; length <= text.size(); ++length) {
        if (const auto key = expected.find(text.substr(0, length)); key != expected.end())
          wanted.emplace_back(length, key->second);
      }
      ASSERT_EQ(Prefixes(trie, text), wanted);
    }
  }
}

TEST(ByteTrie, WithoutKeysFindsNothing) {
  const std::string zeros(3, '\0');
  using Keys = std::vector<std::pair<std::string_view, int32_t>>;
  for (const ByteTrie& trie : {ByteTrie(), ByteTrie(Keys{}), ByteTrie(Keys{{"", 7}})}) {
    EXPECT_TRUE(Prefixes(trie, "abc").empty());
    EXPECT_TRUE(Prefixes(trie, zeros).empty());
    EXPECT_TRUE(Prefixes(trie, "").empty());
  }
}

}  // namespace
}  // namespace elrea
