// Tokenised rows.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace elrea {

// Token ids that do not change: in a vector of their own, or in a mapped file that they keep open. Copies
// share.
class TokenIds {
 public:
  TokenIds() = default;
  TokenIds(std::vector<int32_t> ids) {  // implicit: a list of ids is what a row is given
    auto owned = std::make_shared<const std::vector<int32_t>>(std::move(ids));
    ids_ = *owned;
    owner_ = std::move(owned);
  }
  TokenIds(std::initializer_list<int32_t> ids) : TokenIds(std::vector<int32_t>(ids)) {}
  TokenIds(std::shared_ptr<const void> owner, std::span<const int32_t> ids)
      : owner_(std::move(owner)), ids_(ids) {}

  const int32_t* data() const { return ids_.data(); }
  size_t size() const { return ids_.size(); }
  const int32_t* begin() const { return data(); }
  const int32_t* end() const { return data() + size(); }
  int32_t operator[](size_t i) const { return ids_[i]; }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const int32_t> ids_;
};

// tokens[0, num_prompt) is the instruction, the rest the response.
struct TokenRow {
  TokenIds tokens;
  int64_t num_prompt = 0;
  int32_t source_id = 0;
};

}  // namespace elrea
