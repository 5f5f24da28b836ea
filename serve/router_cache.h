// Features of prompts seen lately, by the prompt's tokens: a prompt asked again is not differentiated again.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace elrea {

// Keeps the prompts that were used last. Single-thread.
class RouterCache {
 public:
  using Feature = std::shared_ptr<const std::vector<float>>;  // [feat]
  explicit RouterCache(int64_t max_prompts) : max_prompts_(static_cast<size_t>(max_prompts)) {}

  Feature Find(std::span<const int32_t> prompt) {
    const auto found = index_.find(Key(prompt));
    if (found == index_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->feature;
  }

  void Store(std::span<const int32_t> prompt, Feature feature) {
    if (max_prompts_ == 0 || Find(prompt)) return;
    entries_.push_front({Key(prompt), std::move(feature)});
    index_[entries_.front().key] = entries_.begin();
    bytes_ += NumBytes(entries_.front());
    if (entries_.size() <= max_prompts_) return;
    bytes_ -= NumBytes(entries_.back());
    index_.erase(entries_.back().key);
    entries_.pop_back();
  }

  // Of features and of tokens, which entry and index both hold.
  int64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::string key;
    Feature feature;
  };
  // The tokens themselves: two prompts are never taken for one.
  static std::string Key(std::span<const int32_t> prompt) {
    return {reinterpret_cast<const char*>(prompt.data()), prompt.size_bytes()};
  }
  static int64_t NumBytes(const Entry& entry) {
    return static_cast<int64_t>(entry.feature->size() * sizeof(float) + 2 * entry.key.size());
  }
  size_t max_prompts_;
  int64_t bytes_ = 0;
  std::list<Entry> entries_;  // last used first
  std::map<std::string, std::list<Entry>::iterator> index_;
};

}  // namespace elrea
