#include "data/jinja_lexer.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

using Kind = JinjaToken::Kind;
constexpr auto kNone = std::string_view::npos;

bool IsPythonSpace(char32_t code) {
  return (CharClassTable()[code] & kSpaceChar) != 0 || (code >= 0x1C && code <= 0x1F);
}
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameChar(char c) { return c == '_' || IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// "\r\n" and "\r" become "\n", and one at the end goes.
std::string WithPlainLineBreaks(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      text += '\n';
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(WithPlainLineBreaks(source)) {}

  std::vector<JinjaToken> Run() {
    while (pos_ < source_.size()) LexTextAndTag();
    Push(Kind::kEnd, "", pos_);
    return std::move(tokens_);
  }

 private:
  std::string_view Rest() const { return std::string_view(source_).substr(pos_); }

  JinjaPosition At(size_t pos) const {
    if (pos < counted_) counted_ = 0, place_ = {};
    for (; counted_ < pos && counted_ < source_.size(); ++counted_) {
      const auto byte = static_cast<unsigned char>(source_[counted_]);
      if (byte == '\n') {
        ++place_.line;
        place_.column = 1;
      } else if ((byte & 0xC0) != 0x80) {
        ++place_.column;
      }
    }
    return place_;
  }

  void Push(Kind kind, std::string text, size_t begin) {
    tokens_.push_back({kind, std::move(text), At(begin)});
  }
  [[noreturn]] void Fail(size_t pos, const std::string& fault) const { ThrowJinja(At(pos), fault); }

  // Text up to the next "{{", "{%" or "{#", shortened as that tag's signs say, and then the tag.
  void LexTextAndTag() {
    const size_t begin = pos_;
    size_t tag = begin;
    do {
      tag = source_.find('{', tag);
      if (tag == kNone || tag + 1 >= source_.size()) {
        tag = kNone;
        break;
      }
      if (std::string_view("{%#").find(source_[tag + 1]) != kNone) break;
      ++tag;
    } while (true);
    if (tag == kNone) {
      Push(Kind::kText, source_.substr(begin), begin);
      pos_ = source_.size();
      return;
    }
    const char type = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    std::string_view text = std::string_view(source_).substr(begin, tag - begin);
    if (sign == '-') {
      text = PythonStrip(text, false, true);
    } else if (sign != '+' && type != '{') {
      text = WithoutIndent(text);
    }
    if (!text.empty()) Push(Kind::kText, std::string(text), begin);
    pos_ = tag + 2 + (sign == '-' || sign == '+' ? 1 : 0);
    line_starts_ = false;
    if (type == '#') {
      LexComment(tag);
    } else if (type == '%' && LexRaw(tag)) {
      return;
    } else {
      LexInside(type, tag);
    }
  }

  // lstrip_blocks: white space between the start of the line and a block tag goes.
  std::string_view WithoutIndent(std::string_view text) const {
    const size_t newline = text.rfind('\n');
    if (newline == kNone && !line_starts_) return text;
    const size_t line = newline == kNone ? 0 : newline + 1;
    return PythonStrip(text.substr(line)).empty() ? text.substr(0, line) : text;
  }

  void LexComment(size_t tag) {
    const size_t end = source_.find("#}", pos_);
    if (end == kNone) Fail(tag, "the comment {# is not closed by #}");
    const char sign = end > pos_ ? source_[end - 1] : ' ';
    pos_ = end + 2;
    AfterBlock(sign);
  }

  // What a block's end takes along: all white space with "-", one line break without "+".
  void AfterBlock(char sign) {
    const size_t before = pos_;
    if (sign == '-') {
      SkipSpace();
    } else if (sign != '+' && pos_ < source_.size() && source_[pos_] == '\n') {
      ++pos_;
    }
    line_starts_ = pos_ > before && source_[pos_ - 1] == '\n';
  }

  void SkipSpace() {
    while (pos_ < source_.size()) {
      const Char c = CharAt(source_, pos_);
      if (!IsPythonSpace(c.code)) return;
      pos_ += c.num_bytes;
    }
  }

  // {% raw %} ... {% endraw %}; false when the tag is another.
  bool LexRaw(size_t tag) {
    const size_t inside = pos_;
    SkipSpace();
    if (!Rest().starts_with("raw")) return pos_ = inside, false;
    pos_ += 3;
    SkipSpace();
    const bool trims = Rest().starts_with("-%}");
    if (!trims && !Rest().starts_with("%}")) return pos_ = inside, false;
    pos_ += trims ? 3 : 2;
    if (trims) SkipSpace();
    const size_t begin = pos_;
    for (size_t end = source_.find("{%", begin); end != kNone; end = source_.find("{%", end + 2)) {
      pos_ = end + 2;
      const char sign = pos_ < source_.size() ? source_[pos_] : ' ';
      if (sign == '-' || sign == '+') ++pos_;
      SkipSpace();
      if (!Rest().starts_with("endraw")) continue;
      pos_ += 6;
      SkipSpace();
      const char close = pos_ < source_.size() ? source_[pos_] : ' ';
      if (close == '-' || close == '+') ++pos_;
      if (!Rest().starts_with("%}")) continue;
      std::string_view text = std::string_view(source_).substr(begin, end - begin);
      if (sign == '-') {
        text = PythonStrip(text, false, true);
      } else if (sign != '+') {
        text = WithoutIndent(text);
      }
      Push(Kind::kText, std::string(text), begin);
      pos_ += 2;
      AfterBlock(close);
      return true;
    }
    Fail(tag, "{% raw %} is not closed by {% endraw %}");
  }

  void LexInside(char type, size_t tag) {
    Push(type == '{' ? Kind::kPrintBegin : Kind::kTagBegin, "", tag);
    const std::string_view end = type == '{' ? "}}" : "%}";
    std::string open;  // brackets waiting to be closed
    for (;;) {
      SkipSpace();
      if (pos_ >= source_.size()) Fail(tag, fmt::format("the tag is not closed by {}", end));
      const char sign = source_[pos_];
      const bool signed_end =
          (sign == '-' || (sign == '+' && type == '%')) && Rest().substr(1).starts_with(end);
      if (open.empty() && (signed_end || Rest().starts_with(end))) {
        Push(type == '{' ? Kind::kPrintEnd : Kind::kTagEnd, "", pos_);
        pos_ += signed_end ? 3 : 2;
        if (type == '%') {
          AfterBlock(sign);
        } else if (signed_end) {
          SkipSpace();
          line_starts_ = source_[pos_ - 1] == '\n';
        }
        return;
      }
      LexToken(open);
    }
  }

  void LexToken(std::string& open) {
    const size_t begin = pos_;
    const char first = source_[pos_];
    if (first == '"' || first == '\'') return LexString(first);
    if (IsDigit(first)) return LexNumber();
    if (IsNameChar(first)) {
      while (pos_ < source_.size() && IsNameChar(source_[pos_])) ++pos_;
      return Push(Kind::kName, source_.substr(begin, pos_ - begin), begin);
    }
    static constexpr std::array<std::string_view, 27> kOperators = {
        "**", "//", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "(", ")",
        "[",  "]",  "{",  "}",  "<",  ">",  "=", ".", ":", "|", ",", ";", "!"};
    for (const std::string_view op : kOperators) {
      if (!Rest().starts_with(op)) continue;
      Balance(op, open);
      pos_ += op.size();
      return Push(Kind::kOperator, std::string(op), begin);
    }
    Fail(begin,
         fmt::format("unexpected character \"{}\"", Rest().substr(0, CharAt(source_, pos_).num_bytes)));
  }

  void Balance(std::string_view op, std::string& open) const {
    if (op == "(") open += ')';
    if (op == "[") open += ']';
    if (op == "{") open += '}';
    if (op != ")" && op != "]" && op != "}") return;
    if (open.empty() || open.back() != op[0]) {
      Fail(pos_, open.empty() ? fmt::format("unexpected \"{}\"", op)
                              : fmt::format("unexpected \"{}\", expected \"{}\"", op, open.back()));
    }
    open.pop_back();
  }

  void LexNumber() {
    const size_t begin = pos_;
    const auto digits = [&] {
      while (pos_ < source_.size() && (IsDigit(source_[pos_]) || source_[pos_] == '_')) ++pos_;
    };
    digits();
    bool is_float = false;
    if (pos_ + 1 < source_.size() && source_[pos_] == '.' && IsDigit(source_[pos_ + 1])) {
      is_float = true;
      ++pos_;
      digits();
    }
    if (pos_ < source_.size() && (source_[pos_] == 'e' || source_[pos_] == 'E')) {
      size_t digit = pos_ + 1;
      if (digit < source_.size() && (source_[digit] == '+' || source_[digit] == '-')) ++digit;
      if (digit < source_.size() && IsDigit(source_[digit])) {
        is_float = true;
        pos_ = digit;
        digits();
      }
    }
    if (pos_ < source_.size() && IsNameChar(source_[pos_]))
      Fail(begin, "not a number that is supported here");
    std::string text = source_.substr(begin, pos_ - begin);
    std::erase(text, '_');
    Push(is_float ? Kind::kFloat : Kind::kInteger, text, begin);
  }

  void LexString(char quote) {
    const size_t begin = pos_++;
    std::string value;
    while (pos_ < source_.size() && source_[pos_] != quote) {
      if (source_[pos_] == '\\') {
        LexEscape(value);
      } else {
        value += source_[pos_++];
      }
    }
    if (pos_ >= source_.size()) Fail(begin, "the string is not closed");
    ++pos_;
    Push(Kind::kString, std::move(value), begin);
  }

  void LexEscape(std::string& value) {
    const size_t begin = pos_++;
    const char c = pos_ < source_.size() ? source_[pos_++] : '\0';
    static constexpr std::string_view kFrom = "nrtbfav\\'\"", kTo = "\n\r\t\b\f\a\v\\'\"";
    if (const size_t known = kFrom.find(c); known != kNone) {
      value += kTo[known];
    } else if (c == '\n') {  // a line goes on
    } else if (c == 'x' || c == 'u' || c == 'U') {
      AppendCode(begin, c == 'x' ? 2 : c == 'u' ? 4 : 8, value);
    } else if (IsDigit(c) || c == 'N' || c == '\0') {
      Fail(begin, "this escape is not supported; write the character itself");
    } else {  // Python keeps both
      value += '\\';
      value += c;
    }
  }

  void AppendCode(size_t begin, size_t num_digits, std::string& value) {
    uint32_t code = 0;
    for (size_t i = 0; i < num_digits; ++i, ++pos_) {
      const char c = pos_ < source_.size() ? source_[pos_] : ' ';
      const size_t digit = std::string_view("0123456789abcdef").find(c >= 'A' && c <= 'F' ? c + 32 : c);
      if (digit == kNone || (code = code * 16 + static_cast<uint32_t>(digit)) > 0x10FFFF) {
        Fail(begin, "not the escape of a character");
      }
    }
    if (code >= 0xD800 && code < 0xE000) Fail(begin, "half of a surrogate pair; write the character itself");
    utf8proc_uint8_t bytes[4];
    const auto num_bytes = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
    value.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(num_bytes));
  }

  const std::string source_;
  size_t pos_ = 0;
  bool line_starts_ = true;  // the text at pos_ begins a line
  std::vector<JinjaToken> tokens_;
  mutable size_t counted_ = 0;  // place_ is of this byte
  mutable JinjaPosition place_;
};

}  // namespace

std::vector<JinjaToken> LexJinja(std::string_view source) { return Lexer(source).Run(); }

void ThrowJinja(JinjaPosition at, const std::string& fault) {
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("chat template, line {}, column {}: {}", at.line, at.column, fault));
}

std::string_view PythonStrip(std::string_view text, bool left, bool right) {
  while (left && !text.empty()) {
    const Char c = CharAt(text, 0);
    if (!IsPythonSpace(c.code)) break;
    text.remove_prefix(c.num_bytes);
  }
  while (right && !text.empty()) {
    size_t last = text.size() - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!IsPythonSpace(CharAt(text, last).code)) break;
    text = text.substr(0, last);
  }
  return text;
}

}  // namespace elrea
