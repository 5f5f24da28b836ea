// Words already turned into tokens. Natural text repeats its words, so most of encoding is a lookup here. The
// cache never changes a result. Each call leases one from a pool: one lock per call instead of one per word,
// nothing shared while in use.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/bpe_merges.h"
#include "data/bpe_vocabulary.h"
#include "data/tokenizer_added.h"

namespace elrea {

// Single-thread. Holds at most some 4 MB; when full it starts anew.
class WordCache {
 public:
  static constexpr size_t kMaxWordBytes = 64;  // longer words rarely come back

  WordCache();
  // Valid until the next Insert. REQUIRES: hash == HashBytes(word), word not empty.
  std::optional<std::span<const int32_t>> Find(std::string_view word, uint64_t hash) const;
  // REQUIRES: word.size() <= kMaxWordBytes and Find(word, hash) is empty.
  void Insert(std::string_view word, uint64_t hash, std::span<const int32_t> tokens);

 private:
  struct Slot {
    uint64_t hash;
    uint32_t word_begin, tokens_begin;
    uint16_t word_bytes;  // 0: the slot is free
    uint16_t num_tokens;
  };
  size_t SlotOf(std::string_view word, uint64_t hash) const;
  std::vector<Slot> slots_;
  std::string words_;
  std::vector<int32_t> tokens_;
  size_t size_ = 0;
};

// The best way to cut a text up to behind some byte; see unigram_model.h.
struct UnigramCut {
  double score;
  int32_t begin;  // of the last piece; -1: no way ends here
  int32_t token;
};

// All that one call of Encode needs to itself.
struct EncodeScratch {
  // Appends the tokens of `word`: those remembered, or what `append` appends to `tokens`.
  template <typename Append>
  void EncodeCached(std::string_view word, std::vector<int32_t>& tokens, const Append& append) {
    if (word.size() > WordCache::kMaxWordBytes) return append();
    const uint64_t hash = HashBytes(word);
    if (const auto known = cache.Find(word, hash)) {
      tokens.insert(tokens.end(), known->begin(), known->end());
      return;
    }
    const size_t before = tokens.size();
    append();
    cache.Insert(word, hash, std::span(tokens).subspan(before));
  }

  WordCache cache;
  BpeMerger merger;
  std::vector<UnigramCut> cuts;
  std::vector<std::string_view> pieces;
  std::deque<std::string> rewritten;  // what pieces point into where a step wrote the text anew
  std::vector<AddedTokenMatcher::Part> parts, inner_parts;
};

// Thread-safe. As many scratches as there have been simultaneous calls.
class ScratchPool {
 public:
  // Returns to the pool on destruction. The pool must outlive it.
  class Lease {
   public:
    Lease(ScratchPool& pool, std::unique_ptr<EncodeScratch> scratch)
        : pool_(pool), scratch_(std::move(scratch)) {}
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    EncodeScratch& operator*() { return *scratch_; }

   private:
    ScratchPool& pool_;
    std::unique_ptr<EncodeScratch> scratch_;
  };
  Lease Take();

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<EncodeScratch>> idle_;  // guarded by mutex_
};

}  // namespace elrea
