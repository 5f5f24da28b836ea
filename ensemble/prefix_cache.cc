#include "ensemble/prefix_cache.h"

#include <algorithm>

namespace elrea {
namespace {

int64_t CommonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

std::optional<KvCache> PrefixCache::Find(const LoraWeights* adapter, std::span<const int32_t> tokens,
                                         int64_t capacity) {
  auto best = texts_.end();
  int64_t longest = kMinTokens - 1;
  for (auto text = texts_.begin(); text != texts_.end(); ++text) {
    if (text->adapter != adapter) continue;
    const int64_t shared =
        std::min(CommonPrefix(text->tokens, tokens), static_cast<int64_t>(tokens.size()) - 1);
    if (shared <= longest) continue;
    longest = shared;
    best = text;
  }
  if (best == texts_.end()) return std::nullopt;
  texts_.splice(texts_.begin(), texts_, best);
  return best->cache.CopyPrefix(longest, std::max(capacity, longest));
}

void PrefixCache::Store(const LoraWeights* adapter, std::span<const int32_t> tokens, const KvCache& cache) {
  const std::span<const int32_t> read = tokens.first(static_cast<size_t>(cache.length()));
  const int64_t bytes = KvCache::NumBytes(decoder_.config(), decoder_.dtype(), cache.length());
  if (cache.length() < kMinTokens || bytes > max_bytes_) return;
  for (auto text = texts_.begin(); text != texts_.end();) {
    const bool same = text->adapter == adapter;
    const int64_t shared = same ? CommonPrefix(text->tokens, read) : 0;
    if (same && shared == cache.length()) {  // there already, or as part of a longer text
      texts_.splice(texts_.begin(), texts_, text);
      return;
    }
    const bool replaced = same && shared == static_cast<int64_t>(text->tokens.size());
    if (replaced) bytes_ -= text->bytes;
    text = replaced ? texts_.erase(text) : std::next(text);
  }
  ShrinkTo(max_bytes_ - bytes);
  texts_.push_front({adapter, {read.begin(), read.end()}, cache.CopyPrefix(cache.length(), cache.length()), bytes});
  bytes_ += bytes;
}

void PrefixCache::ShrinkTo(int64_t max_bytes) {
  while (!texts_.empty() && bytes_ > max_bytes) {
    bytes_ -= texts_.back().bytes;
    texts_.pop_back();
  }
}

void PrefixCache::Forget(const LoraWeights* adapter) {
  for (auto text = texts_.begin(); text != texts_.end();) {
    if (text->adapter == adapter) bytes_ -= text->bytes;
    text = text->adapter == adapter ? texts_.erase(text) : std::next(text);
  }
}

}  // namespace elrea
