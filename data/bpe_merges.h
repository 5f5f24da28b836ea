// The merges of a byte-pair encoding, and merging one word by them. Sennrich et al. 2016; the order of merges
// is that of the tokenizers library: lowest rank first, then leftmost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace elrea {

// (left token, right token) -> rank and merged token. Const-shareable once filled.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank;
    int32_t token;
  };
  // Prepares for this many merges. REQUIRES: the table is empty.
  void Reserve(size_t num_merges);
  // A pair given twice has the later rank. REQUIRES: tokens >= 0.
  void Add(int32_t left, int32_t right, Merge merge);
  const Merge* Find(int32_t left, int32_t right) const;  // nullptr when the pair does not merge
  size_t size() const { return size_; }

 private:
  struct Slot {
    uint64_t pair = kEmpty;
    Merge merge{0, 0};
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  size_t SlotOf(uint64_t pair) const;
  void Grow();
  std::vector<Slot> slots_;
  size_t size_ = 0;
};

// Merges one word; keeps its buffers between words. Single-thread. O(n log n) in the word's length.
class BpeMerger {
 public:
  void Clear();  // before each word; lets go of what an uncommonly long one needed
  // Appends a symbol: a token and the bytes of text it covers. REQUIRES: num_bytes > 0.
  void Push(int32_t token, uint32_t num_bytes);
  // Merges what was pushed and appends the resulting tokens.
  void Run(const MergeTable& merges, std::vector<int32_t>& tokens);

 private:
  struct Symbol {
    int32_t token;
    uint32_t num_bytes;  // 0 once it has been merged into its left neighbour
    int32_t previous, next;
  };
  // A possible merge of the symbol at `position` with its next; stale when they no longer cover num_bytes
  // together.
  struct Candidate {
    uint64_t order;  // rank, then position
    int32_t token;
    uint32_t num_bytes;
    uint32_t position() const { return static_cast<uint32_t>(order); }
    bool operator>(const Candidate& other) const { return order > other.order; }
  };
  bool MakeCandidate(const MergeTable& merges, int32_t left, Candidate* candidate) const;
  void PushCandidate(const MergeTable& merges, int32_t left);
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace elrea
