// The sorted contents serve as a trie: descending by one byte narrows a range of them.
#include "data/tokenizer_added.h"

#include <algorithm>

#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

bool IsSpaceAt(std::string_view text, size_t pos) {
  return (CharClassTable()[CharAt(text, pos).code] & kSpaceChar) != 0;
}

// \w as far as added tokens need it.
bool IsWordAt(std::string_view text, size_t pos) {
  const char32_t code = CharAt(text, pos).code;
  return code == U'_' || (CharClassTable()[code] & (kLetterChar | kNumberChar)) != 0;
}

size_t PreviousChar(std::string_view text, size_t pos) {
  do {
    --pos;
  } while (pos > 0 && (static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80);
  return pos;
}

bool TouchesWord(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && IsWordAt(text, PreviousChar(text, begin))) ||
         (end < text.size() && IsWordAt(text, end));
}

}  // namespace

AddedToken ReadAddedToken(const SortedJson& entry, const std::string& origin) {
  AddedToken token;
  token.content = JsonField<std::string>(entry, "content", origin);
  token.special = JsonFieldOr<bool>(entry, "special", false, origin);
  token.normalized = JsonFieldOr<bool>(entry, "normalized", !token.special, origin);
  token.lstrip = JsonFieldOr<bool>(entry, "lstrip", false, origin);
  token.rstrip = JsonFieldOr<bool>(entry, "rstrip", false, origin);
  token.single_word = JsonFieldOr<bool>(entry, "single_word", false, origin);
  return token;
}

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) {
  std::erase_if(tokens, [](const AddedToken& token) { return token.content.empty(); });
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.content < b.content; });
  for (AddedToken& token : tokens) {
    starts_token_[static_cast<unsigned char>(token.content[0])] = true;
    if (!tokens_.empty() && tokens_.back().content == token.content) {
      tokens_.back() = std::move(token);
    } else {
      tokens_.push_back(std::move(token));
    }
  }
}

const AddedToken* AddedTokenMatcher::LongestAt(std::string_view text) const {
  const AddedToken* longest = nullptr;
  auto low = tokens_.begin(), high = tokens_.end();
  for (size_t depth = 0; depth < text.size() && low != high; ++depth) {
    // Contents shorter than depth + 1 sort first and have been seen.
    const auto byte = static_cast<unsigned char>(text[depth]);
    const auto byte_of = [&](const AddedToken& token) {
      return depth < token.content.size() ? static_cast<int>(static_cast<unsigned char>(token.content[depth]))
                                          : -1;
    };
    low = std::partition_point(low, high, [&](const AddedToken& token) { return byte_of(token) < byte; });
    high = std::partition_point(low, high, [&](const AddedToken& token) { return byte_of(token) <= byte; });
    if (low != high && low->content.size() == depth + 1) longest = &*low;
  }
  return longest;
}

void AddedTokenMatcher::Split(std::string_view text, bool parse_special, std::vector<Part>& parts) const {
  size_t done = 0;  // text before this is in `parts`
  for (size_t pos = 0; pos < text.size() && !tokens_.empty();) {
    if (!starts_token_[static_cast<unsigned char>(text[pos])]) {
      ++pos;
      continue;
    }
    const AddedToken* token = LongestAt(text.substr(pos));
    if (token == nullptr) {
      ++pos;
      continue;
    }
    size_t begin = pos, end = pos + token->content.size();
    pos = end;
    if ((token->special && !parse_special) || (token->single_word && TouchesWord(text, begin, end))) continue;
    if (token->lstrip) {
      while (begin > done && IsSpaceAt(text, PreviousChar(text, begin))) begin = PreviousChar(text, begin);
    }
    if (token->rstrip) {
      while (end < text.size() && IsSpaceAt(text, end)) end += CharAt(text, end).num_bytes;
    }
    if (begin > done) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({text.substr(begin, end - begin), token->id});
    done = std::max(done, end);
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
}

}  // namespace elrea
