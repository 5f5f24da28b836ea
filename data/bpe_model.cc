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

BpeModel::BpeModel(const TokenizerSpec& spec, const BpeRules& rules, const TokenTexts& texts)
    : spec_(spec), rules_(rules) {
  IndexChars();
  IndexMerges(texts);
  if (rules.ignore_merges) IndexWholeWords(texts);
  if (!rules.byte_level) IndexJoins();
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

void BpeModel::IndexWholeWords(const TokenTexts& texts) {
  for (int32_t id = 0; id < static_cast<int32_t>(spec_.vocabulary.size()); ++id) {
    if (!texts.is_added(id)) whole_words_[texts.bytes(id)] = id;
  }
}

void BpeModel::IndexMerges(const TokenTexts& texts) {
  merges_.Reserve(rules_.merges.size());
  for (size_t rank = 0; rank < rules_.merges.size(); ++rank) {
    const BpeMergeRule& rule = rules_.merges[rank];
    // A control token's text is found before merging, or was asked to be left as text: merging must not make
    // one.
    if (texts.is_special(rule.merged)) continue;
    merges_.Add(rule.left, rule.right, {static_cast<uint32_t>(rank), rule.merged});
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
  if (rules_.byte_level) {
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
    const auto whole = whole_words_.find(word);
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

void BpeModel::PushChars(std::string_view word, BpeMerger& merger) const {
  uint32_t unknown_bytes = 0;  // of the unknown characters not pushed yet
  const auto push_unknown = [&] {
    if (unknown_bytes > 0) merger.Push(*spec_.unknown, unknown_bytes);
    unknown_bytes = 0;
  };
  for (size_t pos = 0; pos < word.size();) {
    const Char c = CharAt(word, pos);
    const int32_t token = c.code < char_tokens_.size() ? char_tokens_[c.code] : -1;
    const std::string_view bytes = word.substr(pos, c.num_bytes);
    pos += c.num_bytes;
    if (token >= 0) {
      push_unknown();
      merger.Push(token, c.num_bytes);
    } else if (std::all_of(bytes.begin(), bytes.end(),
                           [&](char b) { return byte_tokens_[static_cast<unsigned char>(b)] >= 0; })) {
      push_unknown();
      PushBytes(bytes, merger);
    } else if (spec_.unknown) {
      if (!rules_.fuse_unknown) push_unknown();
      unknown_bytes += c.num_bytes;
    }
  }
  push_unknown();
}

std::string BpeModel::Identity() const {
  return fmt::format("bpe {} {} {} {} {}\n", rules_.byte_level, rules_.byte_fallback, rules_.ignore_merges,
                     rules_.fuse_unknown, spec_.unknown.value_or(-1));
}

}  // namespace elrea
