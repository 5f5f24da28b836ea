#include "data/wordpiece_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "data/bpe_cache.h"

namespace elrea {
namespace {

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

int64_t CountChars(std::string_view word) {
  return std::count_if(word.begin(), word.end(), [](char byte) { return !IsContinuation(byte); });
}

}  // namespace

WordPieceModel::WordPieceModel(const TokenizerSpec& spec, const WordPieceRules& rules)
    : spec_(spec), rules_(rules) {
  if (!spec.unknown) {
    throw Error(ErrorKind::kInvalidInput,
                "a WordPiece tokenizer needs an unknown token; set model.unk_token");
  }
  for (const std::string& piece : spec.vocabulary.pieces()) {
    longest_piece_bytes_ = std::max(longest_piece_bytes_, piece.size());
  }
}

void WordPieceModel::Encode(std::string_view piece, EncodeScratch& scratch,
                            std::vector<int32_t>& tokens) const {
  scratch.EncodeCached(piece, tokens, [&] { MatchWord(piece, tokens); });
}

// At most longest_piece_bytes_ look-ups for each token.
void WordPieceModel::MatchWord(std::string_view word, std::vector<int32_t>& tokens) const {
  const size_t before = tokens.size();
  const auto unknown = [&] {
    tokens.resize(before);
    tokens.push_back(*spec_.unknown);
  };
  if (CountChars(word) > rules_.max_word_chars) return unknown();
  std::string candidate;
  for (size_t begin = 0; begin < word.size();) {
    const std::string_view prefix = begin > 0 ? std::string_view(rules_.continuing_prefix) : "";
    size_t end = std::min(word.size(), begin + longest_piece_bytes_);
    std::optional<int32_t> token;
    for (; end > begin && !token; --end) {
      if (end < word.size() && IsContinuation(word[end])) continue;
      candidate.assign(prefix).append(word, begin, end - begin);
      token = spec_.vocabulary.Find(candidate);
      if (token) break;
    }
    if (!token) return unknown();
    tokens.push_back(*token);
    begin = end;
  }
}

std::string WordPieceModel::Identity() const {
  return fmt::format("wordpiece {} {} {}\n", rules_.continuing_prefix, rules_.max_word_chars,
                     spec_.unknown.value_or(-1));
}

}  // namespace elrea
