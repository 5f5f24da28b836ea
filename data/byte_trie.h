// Which strings of a set begin a text: a double-array trie over bytes. Aoe 1989. Const-shareable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace elrea {

class ByteTrie {
 public:
  ByteTrie() = default;
  // Keys with their values (>= 0). Of equal keys the last counts; empty ones are ignored.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> keys);

  // visit(length in bytes, value) for every key that `text` begins with, shortest first.
  template <typename Visit>
  void ForEachPrefix(std::string_view text, const Visit& visit) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const uint32_t child = nodes_[node].base + static_cast<unsigned char>(text[i]);
      if (nodes_[child].parent != node) return;
      node = child;
      if (nodes_[node].value >= 0) visit(i + 1, nodes_[node].value);
    }
  }

 private:
  static constexpr uint32_t kFree = ~uint32_t{0};
  // A node's child by byte b is at base + b, if its parent says so.
  struct Node {
    uint32_t base = 0;
    uint32_t parent = kFree;
    int32_t value = -1;
  };
  friend class ByteTrieBuilder;
  std::vector<Node> nodes_ = std::vector<Node>(257);
};

}  // namespace elrea
