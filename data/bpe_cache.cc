// Open addressing over slots that point into two arenas.
#include "data/bpe_cache.h"

namespace elrea {
namespace {

constexpr size_t kNumSlots = size_t{1} << 16;
constexpr size_t kMaxWords = kNumSlots / 4 * 3;

}  // namespace

WordCache::WordCache() : slots_(kNumSlots, Slot{}) {}

size_t WordCache::SlotOf(std::string_view word, uint64_t hash) const {
  size_t i = hash % kNumSlots;
  for (;; i = (i + 1) % kNumSlots) {
    const Slot& slot = slots_[i];
    if (slot.word_bytes == 0) return i;
    if (slot.hash == hash && std::string_view(words_).substr(slot.word_begin, slot.word_bytes) == word)
      return i;
  }
}

std::optional<std::span<const int32_t>> WordCache::Find(std::string_view word, uint64_t hash) const {
  const Slot& slot = slots_[SlotOf(word, hash)];
  if (slot.word_bytes == 0) return std::nullopt;
  return std::span(tokens_).subspan(slot.tokens_begin, slot.num_tokens);
}

void WordCache::Insert(std::string_view word, uint64_t hash, std::span<const int32_t> tokens) {
  if (size_ == kMaxWords) {
    slots_.assign(kNumSlots, Slot{});
    words_.clear();
    tokens_.clear();
    size_ = 0;
  }
  slots_[SlotOf(word, hash)] = {hash, static_cast<uint32_t>(words_.size()),
                                static_cast<uint32_t>(tokens_.size()), static_cast<uint16_t>(word.size()),
                                static_cast<uint16_t>(tokens.size())};
  words_ += word;
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  ++size_;
}

ScratchPool::Lease::~Lease() {
  const std::lock_guard lock(pool_.mutex_);
  pool_.idle_.push_back(std::move(scratch_));
}

ScratchPool::Lease ScratchPool::Take() {
  std::unique_ptr<EncodeScratch> scratch;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      scratch = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!scratch) scratch = std::make_unique<EncodeScratch>();
  return {*this, std::move(scratch)};
}

}  // namespace elrea
