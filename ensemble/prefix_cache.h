// Keys and values of texts that were read already, kept for requests that begin with the same tokens under the same
// adapter: the next turn of a conversation, or another request after the same instructions. Never shared between
// adapters: a prefix read under one says nothing about another.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "lora/lora_weights.h"
#include "model/decoder.h"
#include "model/kv_cache.h"

namespace elrea {

// Keeps the texts that were used last. Single-thread.
class PrefixCache {
 public:
  // Of one decoder, which must outlive it. `max_bytes` 0: keeps nothing.
  PrefixCache(const Decoder& decoder, int64_t max_bytes) : decoder_(decoder), max_bytes_(max_bytes) {}

  // A copy of the longest stored prefix of `tokens` under `adapter` (null: the backbone alone), with room for
  // `capacity` positions. Always shorter than `tokens`, so that there is something left to read. Nothing when no
  // stored text shares at least kMinTokens.
  std::optional<KvCache> Find(const LoraWeights* adapter, std::span<const int32_t> tokens, int64_t capacity);

  // `cache` holds the first cache.length() of `tokens`. Texts that are a prefix of this one are replaced by it, and the
  // oldest leave until all fit. REQUIRES: cache.length() <= tokens.size().
  void Store(const LoraWeights* adapter, std::span<const int32_t> tokens, const KvCache& cache);

  // Frees memory until at most `max_bytes` are in use.
  void ShrinkTo(int64_t max_bytes);
  // Forgets what was read under an adapter that goes away.
  void Forget(const LoraWeights* adapter);

  int64_t bytes() const { return bytes_; }
  int64_t num_texts() const { return static_cast<int64_t>(texts_.size()); }

  static constexpr int64_t kMinTokens = 8;  // fewer are read faster than they are copied

 private:
  struct Text {
    const LoraWeights* adapter;
    std::vector<int32_t> tokens;
    KvCache cache;
    int64_t bytes;
  };
  const Decoder& decoder_;
  int64_t max_bytes_, bytes_ = 0;
  std::list<Text> texts_;  // last used first
};

}  // namespace elrea
