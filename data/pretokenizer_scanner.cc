// Each function returns where the piece that begins at `pos` ends, trying the expression's alternatives in
// their order. The alternatives are quoted beside the code that stands for them.
#include "data/pretokenizer_scanner.h"

#include <cstdint>

#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct Scanner {
  std::string_view text;
  const uint8_t* classes;
  uint8_t number_bit;  // kNumberChar, or kNumericChar where the Digits pre-tokeniser goes first

  uint8_t ClassAt(size_t pos) const {
    const auto byte = static_cast<unsigned char>(text[pos]);
    return classes[byte < 0x80 ? byte : CharAt(text, pos).code];
  }
  uint32_t LengthAt(size_t pos) const {
    const auto byte = static_cast<unsigned char>(text[pos]);
    return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
  }
  bool IsOther(uint8_t c) const { return (c & (kSpaceChar | kLetterChar | number_bit)) == 0; }

  // End of the run of characters of a class.
  size_t SkipClass(size_t pos, uint8_t bit) const {
    while (pos < text.size() && (ClassAt(pos) & bit) != 0) pos += LengthAt(pos);
    return pos;
  }
  size_t SkipOther(size_t pos) const {
    while (pos < text.size() && IsOther(ClassAt(pos))) pos += LengthAt(pos);
    return pos;
  }
  bool IsLineBreak(size_t pos) const { return pos < text.size() && (text[pos] == '\r' || text[pos] == '\n'); }

  // 's|'t|'re|'ve|'m|'ll|'d  ; `pos` when there is none.
  size_t SkipContraction(size_t pos, bool ignore_case) const {
    if (text[pos] != '\'' || pos + 1 >= text.size()) return pos;
    const char fold = ignore_case ? 0x20 : 0;
    const char first = text[pos + 1] | fold;
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return pos + 2;
    // The long s, which folds to s.
    if (ignore_case && text.substr(pos + 1, 2) == "\xC5\xBF") return pos + 3;
    if (pos + 2 >= text.size()) return pos;
    const char second = text[pos + 2] | fold;
    const bool two =
        (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l');
    return two ? pos + 3 : pos;
  }

  // \s+(?!\S)|\s+  : a run of white space leaves its last character to the word that follows. `fences`: an
  // isolated digit ends the text as this expression sees it.
  size_t SkipSpaces(size_t pos, bool fences) const {
    size_t end = pos, last = pos;
    while (end < text.size() && (ClassAt(end) & kSpaceChar) != 0) {
      last = end;
      end += LengthAt(end);
    }
    if (end == text.size() || (fences && (ClassAt(end) & number_bit) != 0)) return end;
    return last > pos ? last : end;
  }

  size_t Gpt2End(size_t pos, bool isolate_digits) const {
    const size_t contraction = SkipContraction(pos, false);
    if (contraction > pos) return contraction;
    const size_t start = text[pos] == ' ' && pos + 1 < text.size() ? pos + 1 : pos;  // " ?"
    const uint8_t c = ClassAt(start);
    if (c & kLetterChar) return SkipClass(start, kLetterChar);  //  ?\p{L}+
    if (c & number_bit) {
      if (!isolate_digits) return SkipClass(start, number_bit);  //  ?\p{N}+
      return start == pos ? pos + LengthAt(pos) : start;  // a space before a digit is a run that ends there
    }
    if (IsOther(c)) return SkipOther(start);  //  ?[^\s\p{L}\p{N}]+
    return SkipSpaces(pos, isolate_digits);
  }

  size_t Llama3End(size_t pos, int max_digits) const {
    const size_t contraction = SkipContraction(pos, true);
    if (contraction > pos) return contraction;
    const uint8_t c = ClassAt(pos);
    const size_t next = pos + LengthAt(pos);
    if (c & kLetterChar) return SkipClass(next, kLetterChar);
    if (c & number_bit) {  // \p{N}{1,max_digits}
      size_t end = next;
      for (int n = 1; n < max_digits && end < text.size() && (ClassAt(end) & number_bit) != 0; ++n) {
        end += LengthAt(end);
      }
      return end;
    }
    const bool next_is_letter = next < text.size() && (ClassAt(next) & kLetterChar) != 0;
    if (!IsLineBreak(pos) && next_is_letter) return SkipClass(next, kLetterChar);  // [^\r\n\p{L}\p{N}]?\p{L}+
    const size_t start = text[pos] == ' ' && next < text.size() ? next : pos;
    if (IsOther(ClassAt(start))) {  //  ?[^\s\p{L}\p{N}]+[\r\n]*
      size_t end = SkipOther(start);
      while (IsLineBreak(end)) ++end;
      return end;
    }
    const size_t end = SkipClass(pos, kSpaceChar);
    for (size_t i = end; i > pos; --i) {  // \s*[\r\n]+ : up to the last line break of the run
      if (IsLineBreak(i - 1)) return i;
    }
    return SkipSpaces(pos, false);
  }
};

}  // namespace

std::string_view ScannerPattern(ScannerKind kind) {
  switch (kind) {
    case ScannerKind::kLlama3:
      return kLlama3Pattern;
    case ScannerKind::kQwen2:
      return kQwen2Pattern;
    default:
      return kGpt2Pattern;
  }
}

std::optional<ScannerKind> ScannerFor(std::string_view pattern) {
  for (const ScannerKind kind : {ScannerKind::kGpt2, ScannerKind::kLlama3, ScannerKind::kQwen2}) {
    if (pattern == ScannerPattern(kind)) return kind;
  }
  return std::nullopt;
}

void ScanPieces(ScannerKind kind, std::string_view text, std::vector<std::string_view>& pieces) {
  const bool isolate_digits = kind == ScannerKind::kSmolLm;
  const Scanner scanner{text, CharClassTable(), isolate_digits ? kNumericChar : kNumberChar};
  for (size_t pos = 0; pos < text.size();) {
    size_t end;
    switch (kind) {
      case ScannerKind::kLlama3:
        end = scanner.Llama3End(pos, 3);
        break;
      case ScannerKind::kQwen2:
        end = scanner.Llama3End(pos, 1);
        break;
      default:
        end = scanner.Gpt2End(pos, isolate_digits);
    }
    pieces.push_back(text.substr(pos, end - pos));
    pos = end;
  }
}

}  // namespace elrea
