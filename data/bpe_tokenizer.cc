// Encode: find added tokens -> normalise -> cut -> look each word up, or merge it. The tables are built once.
#include "data/bpe_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

constexpr std::string_view kLowLine = "\xE2\x96\x81";  // U+2581, SentencePiece's space
constexpr size_t kMaxTextBytes = size_t{1}
                                 << 26;  // merging one word takes some 40 bytes for each of its bytes

// ASCII characters, U+2581, and all others together.
constexpr size_t kOtherChar = 129;
size_t JoinClass(char32_t code) { return code < 128 ? code : code == 0x2581 ? 128 : kOtherChar; }

bool IsAscii(std::string_view text) {
  unsigned char all = 0;
  for (const char c : text) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

std::string SpacesFromLowLines(std::string_view piece) {
  std::string text;
  for (;;) {
    const size_t found = piece.find(kLowLine);
    text += piece.substr(0, found);
    if (found == std::string_view::npos) return text;
    text += ' ';
    piece.remove_prefix(found + kLowLine.size());
  }
}

Normalizer TextRulesOf(const PreTokenizer& pre_tokenizer) {
  using Prepend = PreTokenizer::TextRules::Prepend;
  const auto& rules = pre_tokenizer.rules();
  Normalizer made;
  if (!rules.metaspace.empty()) {
    made.Add(Normalizer::Step::kReplace, rules.metaspace, " ");
    if (rules.prepend == Prepend::kAlways) made.Add(Normalizer::Step::kPrependUnlessThere, rules.metaspace);
    if (rules.prepend == Prepend::kFirst) made.Add(Normalizer::Step::kPrependToFirst, rules.metaspace);
  }
  if (rules.add_prefix_space) made.Add(Normalizer::Step::kPrependUnlessThere, " ");
  return made;
}

}  // namespace

BpeTokenizer::BpeTokenizer(BpeSpec spec)
    : spec_(std::move(spec)), text_rules_(TextRulesOf(spec_.pre_tokenizer)) {
  vocab_size_ = spec_.vocabulary.size();
  bos_ = spec_.bos;
  eos_ = spec_.eos;
  add_bos_ = spec_.add_bos && bos_;
  chat_template_ = spec_.chat_template;
  strips_leading_space_ = spec_.strip_leading_space;
  std::vector<AddedToken> raw, normalized;
  for (AddedToken& token : spec_.added) {
    if (token.special && !token.content.empty()) special_.emplace_back(token.content, token.id);
    if (token.normalized && !spec_.normalizer.empty()) {
      AddedToken after = token;
      after.content = spec_.normalizer.Apply(token.content, false);
      normalized.push_back(std::move(after));
    } else {
      (token.normalized ? normalized : raw).push_back(token);
    }
  }
  raw_matcher_ = AddedTokenMatcher(std::move(raw));
  normalized_matcher_ = AddedTokenMatcher(std::move(normalized));
  IndexTokens();
  IndexChars();
  IndexMerges();
  if (!spec_.byte_level) IndexJoins();
  fingerprint_ = ChecksumHex(Identity());
  spec_.merges = {};
}

// Bytes of every token, and which are special.
void BpeTokenizer::IndexTokens() {
  const auto num_tokens = static_cast<size_t>(vocab_size_);
  is_special_.assign(num_tokens, false);
  std::vector<bool> is_added(num_tokens, false);
  for (const AddedToken& token : spec_.added) {
    is_added[static_cast<size_t>(token.id)] = true;
    if (token.special) is_special_[static_cast<size_t>(token.id)] = true;
  }
  for (size_t id = 0; id < num_tokens; ++id) {
    bytes_begin_.push_back(static_cast<uint32_t>(bytes_.size()));
    const std::string& piece = spec_.vocabulary.piece(static_cast<int32_t>(id));
    const auto byte = spec_.byte_fallback ? ByteOfFallbackPiece(piece) : std::nullopt;
    if (is_added[id]) {
      bytes_ += piece;
    } else if (spec_.byte_level) {
      bytes_ += BytesOfAlphabetPiece(piece).value_or(piece);
    } else if (byte) {
      bytes_ += static_cast<char>(*byte);
    } else {
      bytes_ += SpacesFromLowLines(piece);
    }
  }
  bytes_begin_.push_back(static_cast<uint32_t>(bytes_.size()));
  if (!spec_.ignore_merges) return;
  for (size_t id = 0; id < num_tokens; ++id) {
    const auto bytes =
        std::string_view(bytes_).substr(bytes_begin_[id], bytes_begin_[id + 1] - bytes_begin_[id]);
    if (!is_added[id]) whole_words_[bytes] = static_cast<int32_t>(id);
  }
}

// The tokens a word starts from before merging.
void BpeTokenizer::IndexChars() {
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string spelled =
        spec_.byte_level ? ByteAlphabet()[byte] : fmt::format("<0x{:02X}>", static_cast<unsigned>(byte));
    const bool wanted = spec_.byte_level || spec_.byte_fallback;
    byte_tokens_[byte] = wanted ? spec_.vocabulary.Find(spelled).value_or(-1) : -1;
  }
  if (spec_.byte_level) return;
  for (int32_t id = 0; id < static_cast<int32_t>(vocab_size_); ++id) {
    const std::string& piece = spec_.vocabulary.piece(id);
    if (piece.empty()) continue;
    const Char c = CharAt(piece, 0);
    if (c.num_bytes != piece.size()) continue;
    if (c.code >= char_tokens_.size()) char_tokens_.resize(c.code + 1, -1);
    char_tokens_[c.code] = id;
  }
}

void BpeTokenizer::IndexMerges() {
  merges_.Reserve(spec_.merges.size());
  for (size_t rank = 0; rank < spec_.merges.size(); ++rank) {
    const BpeMergeRule& rule = spec_.merges[rank];
    // A control token's text is found before merging, or was asked to be left as text: merging must not make
    // one.
    if (is_special_[static_cast<size_t>(rule.merged)]) continue;
    merges_.Add(rule.left, rule.right, {static_cast<uint32_t>(rank), rule.merged});
  }
}

// SentencePiece merges over the whole text, but a merge can reach across two neighbouring characters only if
// some piece has them side by side. Cutting where none does gives the same tokens, and words short enough for
// the cache: before almost every U+2581, and in formulas and code at many places more.
void BpeTokenizer::IndexJoins() {
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

// Everything that decides an encoding, as bytes.
std::string BpeTokenizer::Identity() const {
  std::string text = fmt::format("bpe {} {} {} {} {}\n{}\n{}\n", spec_.byte_level, spec_.byte_fallback,
                                 spec_.ignore_merges, spec_.fuse_unknown, spec_.unknown.value_or(-1),
                                 spec_.normalizer.Description(), spec_.pre_tokenizer.Description());
  for (const std::string& piece : spec_.vocabulary.pieces()) {
    text += piece;
    text += '\0';
  }
  for (const AddedToken& token : spec_.added) {
    text += fmt::format("{} {} {}{}{}{}{}\n", token.content, token.id, token.special, token.normalized,
                        token.lstrip, token.rstrip, token.single_word);
  }
  const std::span<const BpeMergeRule> merges(spec_.merges);
  const auto bytes = std::as_bytes(merges);
  text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text;
}

std::vector<int32_t> BpeTokenizer::Encode(std::string_view text, SpecialTokens special) const {
  std::vector<int32_t> tokens;
  if (text.size() > kMaxTextBytes) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("a text of {} is too long to tokenise at once; split it", FormatBytes(text.size())));
  }
  std::string repaired;
  if (!IsAscii(text) && !IsValidUtf8(text)) {
    repaired = ReplaceInvalidUtf8(text);
    text = repaired;
  }
  tokens.reserve(text.size() / 3 + 8);
  ScratchPool::Lease lease = pool_.Take();
  EncodeScratch& scratch = *lease;
  const bool parse_special = special == SpecialTokens::kParse;
  scratch.parts.clear();
  raw_matcher_.Split(text, parse_special, scratch.parts);
  for (const AddedTokenMatcher::Part& part : scratch.parts) {
    if (part.id >= 0) {
      tokens.push_back(part.id);
    } else {
      EncodeFragment(part.text, part.text.data() == text.data(), parse_special, scratch, tokens);
    }
  }
  return tokens;
}

void BpeTokenizer::EncodeFragment(std::string_view text, bool at_start, bool parse_special,
                                  EncodeScratch& scratch, std::vector<int32_t>& tokens) const {
  std::string normalized;
  if (!spec_.normalizer.empty()) {
    normalized = spec_.normalizer.Apply(text, at_start);
    text = normalized;
  }
  if (normalized_matcher_.empty()) {
    EncodeNormalized(text, at_start, scratch, tokens);
    return;
  }
  scratch.inner_parts.clear();
  normalized_matcher_.Split(text, parse_special, scratch.inner_parts);
  for (const AddedTokenMatcher::Part& part : scratch.inner_parts) {
    if (part.id >= 0) {
      tokens.push_back(part.id);
    } else {
      EncodeNormalized(part.text, at_start && part.text.data() == text.data(), scratch, tokens);
    }
  }
}

void BpeTokenizer::EncodeNormalized(std::string_view text, bool at_start, EncodeScratch& scratch,
                                    std::vector<int32_t>& tokens) const {
  std::string ruled;
  if (!text_rules_.empty()) {
    ruled = text_rules_.Apply(text, at_start);
    text = ruled;
  }
  scratch.pieces.clear();
  spec_.pre_tokenizer.Split(text, scratch.pieces);
  for (const std::string_view piece : scratch.pieces) {
    if (spec_.byte_level) {
      EncodeWord(piece, scratch, tokens);
    } else {
      EncodePiece(piece, scratch, tokens);
    }
  }
}

// Cuts a SentencePiece text where no merge can reach across; see IndexJoins.
void BpeTokenizer::EncodePiece(std::string_view piece, EncodeScratch& scratch,
                               std::vector<int32_t>& tokens) const {
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

void BpeTokenizer::EncodeWord(std::string_view word, EncodeScratch& scratch,
                              std::vector<int32_t>& tokens) const {
  if (word.size() > WordCache::kMaxWordBytes) {
    MergeWord(word, scratch, tokens);
    return;
  }
  const uint64_t hash = HashBytes(word);
  if (const auto known = scratch.cache.Find(word, hash)) {
    tokens.insert(tokens.end(), known->begin(), known->end());
    return;
  }
  const size_t before = tokens.size();
  MergeWord(word, scratch, tokens);
  scratch.cache.Insert(word, hash, std::span(tokens).subspan(before));
}

void BpeTokenizer::MergeWord(std::string_view word, EncodeScratch& scratch,
                             std::vector<int32_t>& tokens) const {
  if (spec_.ignore_merges) {
    const auto whole = whole_words_.find(word);
    if (whole != whole_words_.end()) {
      tokens.push_back(whole->second);
      return;
    }
  }
  scratch.merger.Clear();
  if (spec_.byte_level) {
    PushBytes(word, scratch.merger);
  } else {
    PushChars(word, scratch.merger);
  }
  scratch.merger.Run(merges_, tokens);
}

// A byte that the vocabulary lacks vanishes unless there is an unknown token, as in the tokenizers library.
void BpeTokenizer::PushBytes(std::string_view word, BpeMerger& merger) const {
  for (const char c : word) {
    const int32_t token = byte_tokens_[static_cast<unsigned char>(c)];
    if (token >= 0) {
      merger.Push(token, 1);
    } else if (spec_.unknown) {
      merger.Push(*spec_.unknown, 1);
    }
  }
}

void BpeTokenizer::PushChars(std::string_view word, BpeMerger& merger) const {
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
      if (!spec_.fuse_unknown) push_unknown();
      unknown_bytes += c.num_bytes;
    }
  }
  push_unknown();
}

std::string BpeTokenizer::TokenBytes(int32_t token, bool skip_special) const {
  if (token < 0 || token >= vocab_size_) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format(
            "token {} is not in the vocabulary of {} tokens; were these tokens made by another model?", token,
            vocab_size_));
  }
  const auto id = static_cast<size_t>(token);
  if (skip_special && is_special_[id]) return "";
  return bytes_.substr(bytes_begin_[id], bytes_begin_[id + 1] - bytes_begin_[id]);
}

}  // namespace elrea
