// Encode: cut where no merge can reach -> look each word up, or merge it. The tables are built once.
#include "data/bpe_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "data/bpe_cache.h"
#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

// ASCII characters, U+2581, and all others together.
constexpr size_t kOtherChar = 129;
size_t JoinClass(char32_t code) { return code < 128 ? code : code == 0x2581 ? 128 : kOtherChar; }

}  // namespace

BpeModel::BpeModel(const TokenizerSpec& spec, const BpeRules& rules, const TokenKinds& kinds)
    : spec_(spec), rules_(rules) {
  IndexChars();
  IndexMerges(kinds);
  if (rules.ignore_merges) IndexWholeWords(kinds);
  words_are_whole_ = rules.byte_level || rules.ignore_merges || !rules.continuing_prefix.empty() ||
                     !rules.word_suffix.empty();
  if (!words_are_whole_) IndexJoins();
}

// The tokens a word starts from before merging.
void BpeModel::IndexChars() {
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string spelled =
        rules_.byte_level ? ByteAlphabet()[byte] : fmt::format("<0x{:02X}>", static_cast<unsigned>(byte));
    const bool wanted = rules_.byte_level || rules_.byte_fallback;
    byte_tokens_[byte] = wanted ? spec_.vocabulary.Find(spelled).value_or(-1) : -1;
  }
  if (rules_.byte_level) return;
  for (int32_t id = 0; id < static_cast<int32_t>(spec_.vocabulary.size()); ++id) {
    const std::string& piece = spec_.vocabulary.piece(id);
    if (piece.empty()) continue;
    const Char c = CharAt(piece, 0);
    if (c.num_bytes != piece.size()) continue;
    if (c.code >= char_tokens_.size()) char_tokens_.resize(c.code + 1, -1);
    char_tokens_[c.code] = id;
  }
}

void BpeModel::IndexWholeWords(const TokenKinds& kinds) {
  for (int32_t id = 0; id < static_cast<int32_t>(spec_.vocabulary.size()); ++id) {
    const std::string& piece = spec_.vocabulary.piece(id);
    if (kinds.is_added(id) || piece.empty()) continue;
    whole_words_[rules_.byte_level ? BytesOfAlphabetPiece(piece).value_or(piece) : piece] = id;
  }
}

void BpeModel::IndexMerges(const TokenKinds& kinds) {
  merges_.Reserve(rules_.merges.size());
  for (const BpeMergeRule& rule : rules_.merges) {
    // A control token's text is found before merging, or was asked to be left as text: merging must not make
    // one.
    if (!kinds.is_special(rule.merged)) merges_.Add(rule.left, rule.right, {rule.rank, rule.merged});
  }
}

// SentencePiece merges over the whole text, but a merge can reach across two neighbouring characters only if
// some piece has them side by side. Cutting where none does gives the same tokens, and words short enough for
// the cache: before almost every U+2581, and in formulas and code at many places more.
void BpeModel::IndexJoins() {
  for (auto& row : joins_) row.reset();
  joins_[kOtherChar].set();
  for (auto& row : joins_) row.set(kOtherChar);
  for (size_t code = 0; code < 128; ++code) {  // neighbouring unknown characters may become one token
    if (code < char_tokens_.size() && char_tokens_[code] >= 0) continue;
    joins_[code].set();
    for (auto& row : joins_) row.set(code);
  }
  for (const std::string& piece : spec_.vocabulary.pieces()) {
    size_t previous = kNumJoinClasses;
    for (size_t pos = 0; pos < piece.size();) {
      const Char c = CharAt(piece, pos);
      const size_t current = JoinClass(c.code);
      if (previous < kNumJoinClasses) joins_[previous].set(current);
      previous = current;
      pos += c.num_bytes;
    }
  }
}

// Cuts a SentencePiece text where no merge can reach across; see IndexJoins.
void BpeModel::Encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& tokens) const {
  if (words_are_whole_) {
    EncodeWord(piece, scratch, tokens);
    return;
  }
  size_t begin = 0, previous = kOtherChar;
  for (size_t pos = 0; pos < piece.size();) {
    const Char c = CharAt(piece, pos);
    const size_t current = JoinClass(c.code);
    if (pos > begin && !joins_[previous][current]) {
      EncodeWord(piece.substr(begin, pos - begin), scratch, tokens);
      begin = pos;
    }
    previous = current;
    pos += c.num_bytes;
  }
  EncodeWord(piece.substr(begin), scratch, tokens);
}

void BpeModel::EncodeWord(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& tokens) const {
  scratch.EncodeCached(word, tokens, [&] { MergeWord(word, scratch, tokens); });
}

void BpeModel::MergeWord(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& tokens) const {
  if (rules_.ignore_merges) {
    const auto whole = whole_words_.find(std::string(word));
    if (whole != whole_words_.end()) {
      tokens.push_back(whole->second);
      return;
    }
  }
  scratch.merger.Clear();
  if (rules_.byte_level) {
    PushBytes(word, scratch.merger);
  } else {
    PushChars(word, scratch.merger);
  }
  scratch.merger.Run(merges_, tokens);
}

// A byte that the vocabulary lacks vanishes unless there is an unknown token, as in the tokenizers library.
void BpeModel::PushBytes(std::string_view word, BpeMerger& merger) const {
  for (const char c : word) {
    const int32_t token = byte_tokens_[static_cast<unsigned char>(c)];
    if (token >= 0) {
      merger.Push(token, 1);
    } else if (spec_.unknown) {
      merger.Push(*spec_.unknown, 1);
    }
  }
}

// The token of one character of a word; -1 where there is none. `spelled`: how its piece is spelled.
int32_t BpeModel::CharToken(std::string_view word, size_t pos, size_t num_bytes, std::string& spelled) const {
  spelled.clear();
  if (pos > 0) spelled += rules_.continuing_prefix;
  spelled += word.substr(pos, num_bytes);
  if (pos + num_bytes == word.size()) spelled += rules_.word_suffix;
  if (spelled.size() > num_bytes) return spec_.vocabulary.Find(spelled).value_or(-1);
  const char32_t code = CharAt(word, pos).code;
  return code < char_tokens_.size() ? char_tokens_[code] : -1;
}

// In the order of the tokenizers library: bytes that stand for an unknown character come before a pending
// unknown token.
void BpeModel::PushChars(std::string_view word, BpeMerger& merger) const {
  uint32_t unknown_bytes = 0;  // of the unknown characters not pushed yet
  const auto push_unknown = [&] {
    if (unknown_bytes > 0) merger.Push(*spec_.unknown, unknown_bytes);
    unknown_bytes = 0;
  };
  std::string spelled;
  for (size_t pos = 0; pos < word.size();) {
    const uint32_t num_bytes = CharAt(word, pos).num_bytes;
    const int32_t token = CharToken(word, pos, num_bytes, spelled);
    pos += num_bytes;
    if (token >= 0) {
      push_unknown();
      merger.Push(token, num_bytes);
    } else if (std::all_of(spelled.begin(), spelled.end(),
                           [&](char b) { return byte_tokens_[static_cast<unsigned char>(b)] >= 0; })) {
      PushBytes(spelled, merger);
    } else if (spec_.unknown) {
      if (!rules_.fuse_unknown) push_unknown();
      unknown_bytes += num_bytes;
    }
  }
  push_unknown();
}

std::string BpeModel::Identity() const {
  std::string text = fmt::format("bpe {} {} {} {} {}\n", rules_.byte_level, rules_.byte_fallback,
                                 rules_.ignore_merges, rules_.fuse_unknown, spec_.unknown.value_or(-1));
  if (!rules_.continuing_prefix.empty() || !rules_.word_suffix.empty())
    text += fmt::format("affixes {} {}\n", rules_.continuing_prefix, rules_.word_suffix);
  return text;
}

}  // namespace elrea
