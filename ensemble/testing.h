// What tests of decoding share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace elrea {

// Token t is the letter 'a' + t % 26.
class LetterTokenizer : public Tokenizer {
 public:
  explicit LetterTokenizer(int64_t vocab) { vocab_size_ = vocab; }
  std::vector<int32_t> Encode(std::string_view, SpecialTokens) const override { return {}; }
  std::string TokenBytes(int32_t token, bool) const override { return std::string(1, static_cast<char>('a' + token % 26)); }
};

}  // namespace elrea
