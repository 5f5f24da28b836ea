// Open addressing with linear probing at a load of at most one half; a heap of candidate merges over a linked
// list of symbols.
#include "data/bpe_merges.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "core/rng.h"

namespace elrea {
namespace {

constexpr size_t kMinSlots = 16;
constexpr size_t kKeptSymbols = size_t{1} << 16;

uint64_t PairOf(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

size_t MergeTable::SlotOf(uint64_t pair) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = MixBits(pair) & mask;
  while (slots_[slot].pair != pair && slots_[slot].pair != kEmpty) slot = (slot + 1) & mask;
  return slot;
}

void MergeTable::Reserve(size_t num_merges) {
  slots_.assign(std::bit_ceil(std::max(kMinSlots, 2 * num_merges)), {});
}

void MergeTable::Grow() {
  const std::vector<Slot> old = std::move(slots_);
  slots_.assign(std::max(kMinSlots, 2 * old.size()), {});
  for (const Slot& slot : old) {
    if (slot.pair != kEmpty) slots_[SlotOf(slot.pair)] = slot;
  }
}

void MergeTable::Add(int32_t left, int32_t right, Merge merge) {
  if (2 * (size_ + 1) > slots_.size()) Grow();
  const uint64_t pair = PairOf(left, right);
  Slot& slot = slots_[SlotOf(pair)];
  if (slot.pair == kEmpty) ++size_;
  slot = {pair, merge};
}

const MergeTable::Merge* MergeTable::Find(int32_t left, int32_t right) const {
  if (size_ == 0) return nullptr;
  const Slot& slot = slots_[SlotOf(PairOf(left, right))];
  return slot.pair == kEmpty ? nullptr : &slot.merge;
}

void BpeMerger::Clear() {
  if (symbols_.capacity() > kKeptSymbols) {
    symbols_ = {};
    heap_ = {};
  }
  symbols_.clear();
}

void BpeMerger::Push(int32_t token, uint32_t num_bytes) {
  const auto position = static_cast<int32_t>(symbols_.size());
  if (position > 0) symbols_.back().next = position;
  symbols_.push_back({token, num_bytes, position - 1, -1});
}

bool BpeMerger::MakeCandidate(const MergeTable& merges, int32_t left, Candidate* candidate) const {
  if (left < 0 || symbols_[left].next < 0) return false;
  const Symbol& right = symbols_[symbols_[left].next];
  const MergeTable::Merge* merge = merges.Find(symbols_[left].token, right.token);
  if (merge == nullptr) return false;
  *candidate = {static_cast<uint64_t>(merge->rank) << 32 | static_cast<uint32_t>(left), merge->token,
                symbols_[left].num_bytes + right.num_bytes};
  return true;
}

void BpeMerger::PushCandidate(const MergeTable& merges, int32_t left) {
  Candidate candidate;
  if (MakeCandidate(merges, left, &candidate)) {
    heap_.push_back(candidate);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
}

void BpeMerger::Run(const MergeTable& merges, std::vector<int32_t>& tokens) {
  heap_.clear();
  Candidate candidate;
  for (size_t i = 0; i + 1 < symbols_.size(); ++i) {
    if (MakeCandidate(merges, static_cast<int32_t>(i), &candidate)) heap_.push_back(candidate);
  }
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const Candidate best = heap_.back();
    heap_.pop_back();
    Symbol& left = symbols_[best.position()];
    if (left.num_bytes == 0 || left.next < 0) continue;
    Symbol& right = symbols_[left.next];
    // Boundaries between symbols only vanish, so equal length means the very same two symbols.
    if (left.num_bytes + right.num_bytes != best.num_bytes) continue;
    left.token = best.token;
    left.num_bytes = best.num_bytes;
    left.next = right.next;
    right.num_bytes = 0;
    if (left.next >= 0) symbols_[left.next].previous = static_cast<int32_t>(best.position());
    PushCandidate(merges, left.previous);
    PushCandidate(merges, static_cast<int32_t>(best.position()));
  }
  for (int32_t i = symbols_.empty() ? -1 : 0; i >= 0; i = symbols_[i].next)
    tokens.push_back(symbols_[i].token);
}

}  // namespace elrea
