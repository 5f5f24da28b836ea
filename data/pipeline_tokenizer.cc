#include "data/pipeline_tokenizer.h"

#include <fmt/format.h>

#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "data/bpe_model.h"
#include "data/unigram_model.h"
#include "data/wordpiece_model.h"

namespace elrea {
namespace {

// Encoding one word takes some 40 bytes for each of its bytes.
constexpr size_t kMaxTextBytes = size_t{1} << 26;

bool IsAscii(std::string_view text) {
  unsigned char all = 0;
  for (const char c : text) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

}  // namespace

std::unique_ptr<WordModel> MakeWordModel(const TokenizerSpec& spec, const TokenKinds& kinds) {
  if (const auto* rules = std::get_if<WordPieceRules>(&spec.model)) {
    return std::make_unique<WordPieceModel>(spec, *rules);
  }
  if (const auto* rules = std::get_if<UnigramRules>(&spec.model)) {
    return std::make_unique<UnigramModel>(spec, *rules);
  }
  return std::make_unique<BpeModel>(spec, std::get<BpeRules>(spec.model), kinds);
}

PipelineTokenizer::PipelineTokenizer(TokenizerSpec spec)
    : spec_(std::move(spec)),
      kinds_(spec_.added, spec_.vocabulary.size()),
      model_(MakeWordModel(spec_, kinds_)) {
  vocab_size_ = spec_.vocabulary.size();
  bos_ = spec_.bos;
  eos_ = spec_.eos;
  add_bos_ = spec_.add_bos && bos_;
  prefix_ = spec_.prefix;
  suffix_ = spec_.suffix;
  chat_template_ = spec_.chat_template;
  MakeMatchers();
  fingerprint_ = ChecksumHex(Identity());
  if (auto* bpe = std::get_if<BpeRules>(&spec_.model)) bpe->merges = {};
}

void PipelineTokenizer::MakeMatchers() {
  std::vector<AddedToken> raw, normalized;
  for (const AddedToken& token : spec_.added) {
    if (token.special && !token.content.empty()) special_.emplace_back(token.content, token.id);
    if (token.normalized && !token.spelled_normalized && !spec_.normalizer.empty()) {
      AddedToken after = token;
      after.content = spec_.normalizer.Apply(token.content);
      normalized.push_back(std::move(after));
    } else {
      (token.normalized ? normalized : raw).push_back(token);
    }
  }
  raw_matcher_ = AddedTokenMatcher(std::move(raw));
  normalized_matcher_ = AddedTokenMatcher(std::move(normalized));
}

// Everything that decides an encoding, as bytes.
std::string PipelineTokenizer::Identity() const {
  std::string text = fmt::format("{}{}\n{}\n", model_->Identity(), spec_.normalizer.Description(),
                                 spec_.pre_tokenizer.Description());
  for (const std::string& piece : spec_.vocabulary.pieces()) {
    text += piece;
    text += '\0';
  }
  for (const AddedToken& token : spec_.added) {
    text += fmt::format("{} {} {}{}{}{}{}\n", token.content, token.id, token.special, token.normalized,
                        token.lstrip, token.rstrip, token.single_word);
  }
  if (const auto* bpe = std::get_if<BpeRules>(&spec_.model)) {
    for (size_t i = 0; i < bpe->merges.size(); ++i) {
      const BpeMergeRule& rule = bpe->merges[i];
      const int32_t tokens[] = {rule.left, rule.right, rule.merged};
      text.append(reinterpret_cast<const char*>(tokens), sizeof tokens);
      if (rule.rank != i) text += fmt::format("{};", rule.rank);
    }
  }
  return text;
}

std::vector<int32_t> PipelineTokenizer::Encode(std::string_view text, SpecialTokens special) const {
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

void PipelineTokenizer::EncodeFragment(std::string_view text, bool at_start, bool parse_special,
                                       EncodeScratch& scratch, std::vector<int32_t>& tokens) const {
  std::string normalized;
  if (!spec_.normalizer.empty()) {
    normalized = spec_.normalizer.Apply(text);
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

void PipelineTokenizer::EncodeNormalized(std::string_view text, bool at_start, EncodeScratch& scratch,
                                         std::vector<int32_t>& tokens) const {
  scratch.pieces.clear();
  scratch.rewritten.clear();
  spec_.pre_tokenizer.Split(text, at_start, scratch.pieces, scratch.rewritten);
  for (const std::string_view piece : scratch.pieces) model_->Encode(piece, scratch, tokens);
}

void PipelineTokenizer::CheckToken(int32_t token) const {
  if (token >= 0 && token < vocab_size_) return;
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format("token {} is not in the vocabulary of {} tokens; were these tokens made by another model?",
                  token, vocab_size_));
}

std::string PipelineTokenizer::TokenBytes(int32_t token, bool skip_special) const {
  CheckToken(token);
  if (skip_special && kinds_.is_special(token)) return "";
  const std::string& piece = spec_.vocabulary.piece(token);
  return kinds_.is_added(token) ? piece : spec_.decoder.PieceBytes(piece);
}

std::vector<std::string> PipelineTokenizer::Pieces(std::span<const int32_t> tokens, bool skip_special) const {
  std::vector<std::string> pieces;
  pieces.reserve(tokens.size());
  for (const int32_t token : tokens) {
    CheckToken(token);
    if (!skip_special || !kinds_.is_special(token)) pieces.push_back(spec_.vocabulary.piece(token));
  }
  return pieces;
}

std::string PipelineTokenizer::Decode(std::span<const int32_t> tokens, bool skip_special) const {
  return spec_.decoder.Decode(Pieces(tokens, skip_special), BrokenBytes::kReplace);
}

std::string PipelineTokenizer::DecodeBytes(std::span<const int32_t> tokens, bool skip_special) const {
  return spec_.decoder.Decode(Pieces(tokens, skip_special), BrokenBytes::kKeep);
}

}  // namespace elrea
