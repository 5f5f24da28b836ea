// The bytes every token of a vocabulary stands for, and which tokens are special. Const-shareable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer_spec.h"

namespace elrea {

class TokenTexts {
 public:
  explicit TokenTexts(const TokenizerSpec& spec);

  std::string_view bytes(int32_t token) const {
    const auto id = static_cast<size_t>(token);
    return std::string_view(bytes_).substr(begin_[id], begin_[id + 1] - begin_[id]);
  }
  bool is_special(int32_t token) const { return is_special_[static_cast<size_t>(token)]; }
  bool is_added(int32_t token) const { return is_added_[static_cast<size_t>(token)]; }

 private:
  std::string bytes_;            // of all tokens, one after the other
  std::vector<uint32_t> begin_;  // [vocab + 1]
  std::vector<bool> is_special_, is_added_;
};

}  // namespace elrea
