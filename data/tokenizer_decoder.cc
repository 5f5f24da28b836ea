#include "data/tokenizer_decoder.h"

#include <utility>

namespace elrea {
namespace {

// In the order in which the tokenizers library replaces them.
constexpr std::pair<std::string_view, std::string_view> kCleanups[] = {
    {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
    {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

}  // namespace

std::string TokenDecoder::WordPieceText(std::string_view piece) const {
  if (piece.starts_with(continuing_prefix)) return std::string(piece.substr(continuing_prefix.size()));
  std::string text = " " + std::string(piece);
  if (!cleanup) return text;
  for (const auto& [from, to] : kCleanups) {
    for (size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
      text.replace(at, from.size(), to);
    }
  }
  return text;
}

}  // namespace elrea
