#include "data/token_texts.h"

namespace elrea {
namespace {

constexpr std::string_view kLowLine = "\xE2\x96\x81";  // U+2581, SentencePiece's space

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

std::string BpeText(const BpeRules& rules, const std::string& piece) {
  if (rules.byte_level) return BytesOfAlphabetPiece(piece).value_or(piece);
  const auto byte = rules.byte_fallback ? ByteOfFallbackPiece(piece) : std::nullopt;
  return byte ? std::string(1, static_cast<char>(*byte)) : SpacesFromLowLines(piece);
}

std::string PieceText(const TokenizerSpec& spec, const std::string& piece) {
  if (const auto* bpe = std::get_if<BpeRules>(&spec.model)) return BpeText(*bpe, piece);
  return spec.decoder.continuing_prefix.empty() ? piece : spec.decoder.WordPieceText(piece);
}

}  // namespace

TokenTexts::TokenTexts(const TokenizerSpec& spec) {
  const auto num_tokens = static_cast<size_t>(spec.vocabulary.size());
  is_special_.assign(num_tokens, false);
  is_added_.assign(num_tokens, false);
  for (const AddedToken& token : spec.added) {
    is_added_[static_cast<size_t>(token.id)] = true;
    if (token.special) is_special_[static_cast<size_t>(token.id)] = true;
  }
  begin_.reserve(num_tokens + 1);
  const bool words = !spec.decoder.continuing_prefix.empty();  // then added tokens are words too
  for (size_t id = 0; id < num_tokens; ++id) {
    begin_.push_back(static_cast<uint32_t>(bytes_.size()));
    const std::string& piece = spec.vocabulary.piece(static_cast<int32_t>(id));
    bytes_ += is_added_[id] && !words ? piece : PieceText(spec, piece);
  }
  begin_.push_back(static_cast<uint32_t>(bytes_.size()));
}

}  // namespace elrea
