#include "data/pipeline_tokenizer.h"

#include <fmt/format.h>

#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "data/bpe_model.h"
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

std::unique_ptr<WordModel> MakeWordModel(const TokenizerSpec& spec, const TokenTexts& texts) {
  if (const auto* rules = std::get_if<WordPieceRules>(&spec.model)) {
    return std::make_unique<WordPieceModel>(spec, *rules);
  }
  return std::make_unique<BpeModel>(spec, std::get<BpeRules>(spec.model), texts);
}

PipelineTokenizer::PipelineTokenizer(TokenizerSpec spec)
    : spec_(std::move(spec)),
      texts_(spec_),
      text_rules_(TextRulesOf(spec_.pre_tokenizer)),
      model_(MakeWordModel(spec_, texts_)) {
  vocab_size_ = spec_.vocabulary.size();
  bos_ = spec_.bos;
  eos_ = spec_.eos;
  add_bos_ = spec_.add_bos && bos_;
  prefix_ = spec_.prefix;
  suffix_ = spec_.suffix;
  chat_template_ = spec_.chat_template;
  strips_leading_space_ = spec_.decoder.strips_leading_space;
  MakeMatchers();
  fingerprint_ = ChecksumHex(Identity());
  if (auto* bpe = std::get_if<BpeRules>(&spec_.model)) bpe->merges = {};
}

void PipelineTokenizer::MakeMatchers() {
  std::vector<AddedToken> raw, normalized;
  for (const AddedToken& token : spec_.added) {
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
    const auto bytes = std::as_bytes(std::span(bpe->merges));
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
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

void PipelineTokenizer::EncodeNormalized(std::string_view text, bool at_start, EncodeScratch& scratch,
                                         std::vector<int32_t>& tokens) const {
  std::string ruled;
  if (!text_rules_.empty()) {
    ruled = text_rules_.Apply(text, at_start);
    text = ruled;
  }
  scratch.pieces.clear();
  spec_.pre_tokenizer.Split(text, scratch.pieces);
  for (const std::string_view piece : scratch.pieces) model_->Encode(piece, scratch, tokens);
}

std::string PipelineTokenizer::TokenBytes(int32_t token, bool skip_special) const {
  if (token < 0 || token >= vocab_size_) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format(
            "token {} is not in the vocabulary of {} tokens; were these tokens made by another model?", token,
            vocab_size_));
  }
  return skip_special && texts_.is_special(token) ? "" : std::string(texts_.bytes(token));
}

}  // namespace elrea
