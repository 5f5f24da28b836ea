// Tokens found in the text before it is cut and merged: control tokens such as "<|im_end|>" and the
// vocabulary's user-defined pieces. Matching is leftmost-longest, as in the tokenizers library.
// Const-shareable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace elrea {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = true;      // a control token; kAsText leaves it in the text
  bool normalized = false;  // looked for after the text has been normalised, by its content once normalised
  bool spelled_normalized = false;  // ... by its content as it is
  bool lstrip = false;              // takes the white space before it along
  bool rstrip = false;              // ... and behind it
  bool single_word = false;         // only where no word character touches it
};

// One as tokenizer.json and tokenizer_config.json write it, but for its id. kCorrupt naming `origin`.
AddedToken ReadAddedToken(const SortedJson& entry, const std::string& origin);

class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  // Tokens with empty content are ignored; of equal contents the last counts.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // A part of the text: a token when id >= 0, else text between tokens.
  struct Part {
    std::string_view text;
    int32_t id = -1;
  };
  // Appends the parts of `text`, in order. `parse_special`: whether control tokens count.
  // REQUIRES: valid UTF-8.
  void Split(std::string_view text, bool parse_special, std::vector<Part>& parts) const;

  bool empty() const { return tokens_.empty(); }
  const std::vector<AddedToken>& tokens() const { return tokens_; }  // sorted by content

  // The longest token that `text` begins with; nullptr where there is none.
  const AddedToken* LongestAt(std::string_view text) const;

 private:
  std::vector<AddedToken> tokens_;
  bool starts_token_[256] = {};  // by first byte
};

}  // namespace elrea
