#include "data/text_steps.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "data/pretokenizer_chars.h"
#include "data/text_classes.h"
#include "data/unicode_additions.h"

namespace elrea {
namespace {

// Appends for each character what `append(char, its bytes, result)` does.
template <typename Append>
std::string MapChars(std::string_view text, const Append& append) {
  std::string mapped;
  mapped.reserve(text.size() + text.size() / 4);
  for (size_t pos = 0; pos < text.size();) {
    const Char c = CharAt(text, pos);
    append(c.code, text.substr(pos, c.num_bytes), mapped);
    pos += c.num_bytes;
  }
  return mapped;
}

void AppendCode(char32_t code, std::string& text) {
  utf8proc_uint8_t bytes[4];
  const auto num_bytes = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(num_bytes));
}

struct CodeRange {
  char32_t first, last;
};

template <size_t kCount>
bool IsIn(const CodeRange (&ranges)[kCount], char32_t code) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [&](const CodeRange& range) { return code >= range.first && code <= range.last; });
}

// The blocks that BERT's own tokeniser counts as CJK.
constexpr CodeRange kIdeographs[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                     {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                     {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};

constexpr CodeRange kNmtControls[] = {{0x1, 0x8},   {0xB, 0xB},   {0xE, 0x1F},
                                      {0x7F, 0x7F}, {0x8F, 0x8F}, {0x9F, 0x9F}};
constexpr CodeRange kNmtSpaces[] = {{0x9, 0x9},       {0xA, 0xA},       {0xC, 0xD},
                                    {0x1680, 0x1680}, {0x200B, 0x200F}, {0x2028, 0x2029},
                                    {0x2581, 0x2581}, {0xFEFF, 0xFEFF}, {0xFFFD, 0xFFFD}};

// The lower case of a character of a newer Unicode; 0 for others.
char32_t AddedLower(char32_t code) {
  const auto additions = LowerAdditions();
  const auto found =
      std::lower_bound(additions.begin(), additions.end(), code,
                       [](const LowerAddition& addition, char32_t wanted) { return addition.code < wanted; });
  return found != additions.end() && found->code == code ? found->lower : 0;
}

bool IsSpace(char32_t code) { return (CharClassTable()[code] & kSpaceChar) != 0; }

}  // namespace

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string replaced;
  if (from.empty()) return std::string(text);
  replaced.reserve(text.size() + text.size() / 2);
  for (;;) {
    const size_t found = text.find(from);
    replaced += text.substr(0, found);
    if (found == std::string_view::npos) return replaced;
    replaced += to;
    text.remove_prefix(found + from.size());
  }
}

std::string CleanText(std::string_view text) {
  return MapChars(text, [](char32_t code, std::string_view bytes, std::string& cleaned) {
    if (TextClassTable()[code] & kCleanedChar) return;
    cleaned += IsSpace(code) ? " " : bytes;
  });
}

std::string SpaceIdeographs(std::string_view text) {
  return MapChars(text, [](char32_t code, std::string_view bytes, std::string& spaced) {
    const bool ideograph = code >= 0x3400 && IsIn(kIdeographs, code);
    if (ideograph) spaced += ' ';
    spaced += bytes;
    if (ideograph) spaced += ' ';
  });
}

std::string RemoveClass(std::string_view text, uint8_t classes) {
  return MapChars(text, [&](char32_t code, std::string_view bytes, std::string& kept) {
    if ((TextClassTable()[code] & classes) == 0) kept += bytes;
  });
}

std::string LowerCase(std::string_view text) {
  return MapChars(text, [](char32_t code, std::string_view, std::string& lower) {
    if (code < 0x80) {
      lower += static_cast<char>(code >= 'A' && code <= 'Z' ? code + 32 : code);
    } else if (code == 0x130) {  // the one character whose lower case is two
      lower += "i\xCC\x87";
    } else if (const char32_t added = AddedLower(code)) {
      AppendCode(added, lower);
    } else {
      AppendCode(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))), lower);
    }
  });
}

std::string StripSpace(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && IsSpace(CharAt(text, 0).code))
    text.remove_prefix(CharAt(text, 0).num_bytes);
  while (right && !text.empty()) {
    size_t last = text.size() - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!IsSpace(CharAt(text, last).code)) break;
    text = text.substr(0, last);
  }
  return std::string(text);
}

std::string CleanNmt(std::string_view text) {
  return MapChars(text, [](char32_t code, std::string_view bytes, std::string& cleaned) {
    if (IsIn(kNmtControls, code)) return;
    cleaned += IsIn(kNmtSpaces, code) ? " " : bytes;
  });
}

}  // namespace elrea
