// Nodes are laid out breadth first. A node's children are put at the first place where all of them fit,
// looked for from a mark on that moves up as the cells below it fill, so that building is near to linear.
#include "data/byte_trie.h"

#include <algorithm>

namespace elrea {

class ByteTrieBuilder {
 public:
  using Keys = std::vector<std::pair<std::string_view, int32_t>>;
  ByteTrieBuilder(const Keys& keys, std::vector<ByteTrie::Node>& nodes) : keys_(keys), nodes_(nodes) {}

  void Run() {
    nodes_.assign(kAlphabet + 1, {});
    nodes_[0].parent = 0;  // taken; no child leads there, as bases are above it
    std::vector<Range> ranges{{0, 0, keys_.size(), 0}};
    for (size_t i = 0; i < ranges.size(); ++i) Place(ranges[i], ranges);
    nodes_.resize(nodes_.size() + kAlphabet);  // every base + byte is inside
  }

 private:
  static constexpr size_t kAlphabet = 256;
  static constexpr size_t kMaxSteps = 512;

  // The keys below a node, all of which have its `depth` bytes in common.
  struct Range {
    uint32_t node;
    size_t begin, end, depth;
  };
  struct Child {
    unsigned char byte;
    size_t begin, end;
  };

  void Place(Range range, std::vector<Range>& ranges) {
    size_t begin = range.begin;
    if (begin < range.end && keys_[begin].first.size() == range.depth)
      nodes_[range.node].value = keys_[begin++].second;
    children_.clear();
    while (begin < range.end) {
      const auto byte = static_cast<unsigned char>(keys_[begin].first[range.depth]);
      size_t end = begin + 1;
      while (end < range.end && static_cast<unsigned char>(keys_[end].first[range.depth]) == byte) ++end;
      children_.push_back({byte, begin, end});
      begin = end;
    }
    if (children_.empty()) return;
    const uint32_t base = FindBase();
    nodes_[range.node].base = base;
    for (const Child& child : children_) {
      nodes_[base + child.byte].parent = range.node;
      ranges.push_back({base + child.byte, child.begin, child.end, range.depth + 1});
    }
  }

  uint32_t FindBase() {
    const size_t first = children_.front().byte, last = children_.back().byte;
    while (mark_ < nodes_.size() && nodes_[mark_].parent != ByteTrie::kFree) ++mark_;
    const size_t from = std::max(mark_, first + 1);
    for (size_t cell = from;; ++cell) {
      if (cell - first + last >= nodes_.size()) nodes_.resize(cell - first + last + kAlphabet);
      if (nodes_[cell].parent != ByteTrie::kFree) continue;
      const size_t base = cell - first;
      const bool fits = std::all_of(children_.begin(), children_.end(), [&](const Child& child) {
        return nodes_[base + child.byte].parent == ByteTrie::kFree;
      });
      if (!fits) continue;
      if (cell - from > kMaxSteps) mark_ = cell;
      return static_cast<uint32_t>(base);
    }
  }

  const Keys& keys_;
  std::vector<ByteTrie::Node>& nodes_;
  std::vector<Child> children_;
  size_t mark_ = 1;
};

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> keys) {
  std::erase_if(keys, [](const auto& key) { return key.first.empty(); });
  std::stable_sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::pair<std::string_view, int32_t>> distinct;
  for (const auto& key : keys) {
    if (!distinct.empty() && distinct.back().first == key.first) distinct.pop_back();
    distinct.push_back(key);
  }
  ByteTrieBuilder(distinct, nodes_).Run();
}

}  // namespace elrea
