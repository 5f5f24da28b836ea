// SentencePiece's precompiled_charsmap: which strings a normaliser replaces by which. A double-array trie in
// the form of Darts-clone, whose values are offsets into texts that end with a zero byte. Const-shareable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace elrea {

class Charsmap {
 public:
  // `blob`: the trie's size in bytes as 4 bytes little endian, the trie, the texts. kCorrupt naming `origin`.
  Charsmap(std::string_view blob, const std::string& origin);

  struct Rule {
    size_t num_bytes;  // of the text that it replaces
    std::string_view replacement;
  };
  // The rule of the longest, and of the shortest, prefix of `text` that has one. A zero byte begins none.
  std::optional<Rule> Longest(std::string_view text) const;
  std::optional<Rule> Shortest(std::string_view text) const;

  // Whether `text` is the beginning of anything that has a rule, or all of it.
  bool MayBeginRule(std::string_view text) const;

  const std::string& checksum() const { return checksum_; }  // of the blob

 private:
  template <typename Visit>
  void ForEachPrefix(std::string_view text, const Visit& visit) const;
  std::string_view TextAt(uint32_t offset) const;
  std::vector<uint32_t> units_;
  std::string texts_, checksum_;
};

// kCorrupt naming `origin` for what is not base64 (RFC 4648, with padding).
std::string DecodeBase64(std::string_view text, const std::string& origin);

}  // namespace elrea
