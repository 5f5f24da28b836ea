// Each step maps a list of pieces to another; the rules are those of the `tokenizers` and `sentencepiece`
// libraries.
#include "data/tokenizer_decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/text.h"
#include "data/bpe_vocabulary.h"
#include "data/text_steps.h"

namespace elrea {
namespace {

using Pieces = std::vector<std::string>;
constexpr std::string_view kLowLine = "\xE2\x96\x81";  // U+2581, SentencePiece's space
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// In the order in which the tokenizers library replaces them.
constexpr std::pair<std::string_view, std::string_view> kCleanups[] = {
    {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
    {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

std::string CleanUp(std::string text) {
  for (const auto& [from, to] : kCleanups) {
    if (text.find(from) != std::string::npos) text = ReplaceAll(text, from, to);
  }
  return text;
}

// Calls `on_bytes` with the bytes of neighbouring byte pieces ("<0x41>") together, and `on_piece` with every other piece, in
// order.
template <typename OnBytes, typename OnPiece>
void ForEachByteRun(const Pieces& pieces, OnBytes on_bytes, OnPiece on_piece) {
  std::string run;
  for (const std::string& piece : pieces) {
    if (const auto byte = ByteOfFallbackPiece(piece)) {
      run += static_cast<char>(*byte);
      continue;
    }
    if (!run.empty()) on_bytes(std::exchange(run, {}));
    on_piece(piece);
  }
  if (!run.empty()) on_bytes(run);
}

Pieces Run(const TokenDecoder::ByteLevel&, const Pieces& pieces, BrokenBytes broken) {
  std::string bytes;
  for (const std::string& piece : pieces) bytes += BytesOfAlphabetPiece(piece).value_or(piece);
  return {broken == BrokenBytes::kReplace ? ReplaceInvalidUtf8(bytes) : bytes};
}

Pieces Run(const TokenDecoder::ByteFallback&, const Pieces& pieces, BrokenBytes broken) {
  Pieces made;
  const auto bytes = [&](const std::string& run) {
    if (broken == BrokenBytes::kKeep || IsValidUtf8(run)) {
      made.push_back(run);
    } else {
      made.insert(made.end(), run.size(), std::string(kReplacement));
    }
  };
  ForEachByteRun(pieces, bytes, [&](const std::string& piece) { made.push_back(piece); });
  return made;
}

Pieces Run(const TokenDecoder::Fuse&, const Pieces& pieces, BrokenBytes) { return {Join(pieces, "")}; }

Pieces Run(const TokenDecoder::Replace& replace, Pieces pieces, BrokenBytes) {
  for (std::string& piece : pieces) {
    piece = replace.regex ? replace.regex->ReplaceAll(piece, replace.to)
                          : ReplaceAll(piece, replace.from, replace.to);
  }
  return pieces;
}

Pieces Run(const TokenDecoder::Strip& strip, Pieces pieces, BrokenBytes) {
  for (std::string& piece : pieces) {
    std::string_view left = piece;
    for (int64_t i = 0; i < strip.start && left.starts_with(strip.content); ++i)
      left.remove_prefix(strip.content.size());
    for (int64_t i = 0; i < strip.stop && left.ends_with(strip.content); ++i)
      left.remove_suffix(strip.content.size());
    piece = std::string(left);
  }
  return pieces;
}

Pieces Run(const TokenDecoder::Metaspace& metaspace, Pieces pieces, BrokenBytes) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i] = ReplaceAll(pieces[i], metaspace.replacement, i == 0 && metaspace.drop_in_first ? "" : " ");
  }
  return pieces;
}

Pieces Run(const TokenDecoder::WordPiece& words, Pieces pieces, BrokenBytes) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    std::string& piece = pieces[i];
    if (i > 0) piece = piece.starts_with(words.prefix) ? piece.substr(words.prefix.size()) : " " + piece;
    if (words.cleanup) piece = CleanUp(std::move(piece));
  }
  return pieces;
}

Pieces Run(const TokenDecoder::BpeSuffix& bpe, Pieces pieces, BrokenBytes) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i] = ReplaceAll(pieces[i], bpe.suffix, i + 1 == pieces.size() ? "" : " ");
  }
  return pieces;
}

Pieces Run(const TokenDecoder::Ctc& ctc, Pieces pieces, BrokenBytes) {
  pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
  for (std::string& piece : pieces) {
    piece = ReplaceAll(piece, ctc.pad, "");
    if (ctc.cleanup) piece = ReplaceAll(CleanUp(std::move(piece)), ctc.word_delimiter, " ");
  }
  std::erase_if(pieces, [](const std::string& piece) { return piece.empty(); });
  return pieces;
}

// Every byte that is part of no character becomes one U+FFFD.
std::string ReplaceBytewise(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    size_t length = 1;
    while (length <= 4 && length <= bytes.size() && !IsValidUtf8(bytes.substr(0, length))) ++length;
    const bool valid = length <= 4 && length <= bytes.size();
    text += valid ? bytes.substr(0, length) : kReplacement;
    bytes.remove_prefix(valid ? length : 1);
  }
  return text;
}

Pieces Run(const TokenDecoder::SentencePiece& rules, const Pieces& pieces, BrokenBytes broken) {
  std::string text;
  bool at_start = true, dropped = false;
  const auto bytes = [&](const std::string& run) {
    text += broken == BrokenBytes::kReplace ? ReplaceBytewise(run) : run;
  };
  ForEachByteRun(pieces, bytes, [&](const std::string& piece) {
    if (dropped || !text.empty()) at_start = false;
    dropped = false;
    if (piece == rules.unknown) {
      text += rules.unknown_surface;
      return;
    }
    std::string_view rest = piece;
    if (at_start && rules.drops_dummy_prefix && rest.starts_with(kLowLine)) {
      rest.remove_prefix(kLowLine.size());
      dropped = !rules.drops_all_leading;
    }
    text += ReplaceAll(rest, kLowLine, " ");
  });
  return {text};
}

}  // namespace

std::string TokenDecoder::Decode(std::vector<std::string> pieces, BrokenBytes broken) const {
  if (steps_.empty()) return Join(pieces, " ");
  for (const Step& step : steps_) {
    pieces = std::visit([&](const auto& one) { return Run(one, std::move(pieces), broken); }, step);
  }
  return Join(pieces, "");
}

// A word before and one behind keep the rules of beginnings and ends away from the piece.
std::string TokenDecoder::PieceBytes(const std::string& piece) const {
  if (steps_.empty()) return piece;
  static const std::string kNeighbour = "x";
  const std::string before = Decode({kNeighbour}, BrokenBytes::kKeep);
  std::string all = Decode({kNeighbour, piece, kNeighbour}, BrokenBytes::kKeep);
  const std::string after = Decode({kNeighbour, kNeighbour}, BrokenBytes::kKeep).substr(before.size());
  if (!all.starts_with(before) || !all.ends_with(after) || all.size() < before.size() + after.size())
    return piece;
  return all.substr(before.size(), all.size() - before.size() - after.size());
}

}  // namespace elrea
