// Which tokens of a vocabulary are found in the text as a whole, and which of these control a model.
// Const-shareable.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tokenizer_added.h"

namespace elrea {

class TokenKinds {
 public:
  // REQUIRES: the ids of `added` are below `num_tokens`.
  TokenKinds(const std::vector<AddedToken>& added, int64_t num_tokens)
      : is_special_(static_cast<size_t>(num_tokens)), is_added_(static_cast<size_t>(num_tokens)) {
    for (const AddedToken& token : added) {
      is_added_[static_cast<size_t>(token.id)] = true;
      if (token.special) is_special_[static_cast<size_t>(token.id)] = true;
    }
  }
  bool is_special(int32_t token) const { return is_special_[static_cast<size_t>(token)]; }
  bool is_added(int32_t token) const { return is_added_[static_cast<size_t>(token)]; }

 private:
  std::vector<bool> is_special_, is_added_;
};

}  // namespace elrea
