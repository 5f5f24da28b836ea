// One pass over the characters that writes the plain spelling; arguments of commands are rewritten
// recursively.
#include "data/answer_latex.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace elrea {
namespace {

constexpr int kMaxDepth = 32;
constexpr size_t kMaxBytes = 8192;  // longer text is no short answer; the time is quadratic in the worst case

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
// Bytes of a non-ASCII character count as letters: they make up words.
bool IsWordByte(char c) { return IsDigit(c) || IsLetter(c) || static_cast<unsigned char>(c) >= 0x80; }

bool AllDigits(std::string_view text) {
  for (char c : text) {
    if (!IsDigit(c)) return false;
  }
  return !text.empty();
}

// Characters outside ASCII that have an ASCII or LaTeX spelling.
constexpr std::array<std::pair<std::string_view, std::string_view>, 24> kUnicodeSpellings = {{
    {"\u2212", "-"},     {"\u2013", "-"},        {"\u2010", "-"},       {"\u00d7", "*"},
    {"\u00b7", "*"},     {"\u00f7", "/"},        {"\u2044", "/"},       {"\u2215", "/"},
    {"\u03c0", "\\pi "}, {"\u221e", "\\infty "}, {"\u221a", "\\sqrt "}, {"\u00b0", " degrees "},
    {"\u00b2", "^2"},    {"\u00b3", "^3"},       {"\u00bd", " 1/2"},    {"\u00bc", " 1/4"},
    {"\u00be", " 3/4"},  {"\u2153", " 1/3"},     {"\u2154", " 2/3"},    {"\u00a0", " "},
    {"\u202f", " "},     {"\u2019", "'"},        {"\u201c", "\""},      {"\u201d", "\""},
}};

std::string FoldUnicode(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    bool found = false;
    if (static_cast<unsigned char>(text[at]) >= 0x80) {
      for (const auto& [from, to] : kUnicodeSpellings) {
        if (!text.substr(at).starts_with(from)) continue;
        out += to;
        at += from.size();
        found = true;
        break;
      }
    }
    if (!found) out += text[at++];
  }
  return out;
}

// Drops white space unless it parts two letters or digits, and that is then one blank.
std::string SqueezeSpaces(std::string_view text) {
  std::string out;
  bool pending = false;
  for (char c : text) {
    if (IsSpace(c)) {
      pending = true;
      continue;
    }
    if (pending && !out.empty() && IsWordByte(out.back()) && IsWordByte(c)) out += ' ';
    pending = false;
    out += c;
  }
  return out;
}

bool HasOperator(std::string_view text) {  // "+", "-" or "/" that joins two terms
  return text.find_first_of("+-/", 1) != text.npos || text.starts_with('/');
}

std::string AsNumerator(const std::string& text) { return HasOperator(text) ? "(" + text + ")" : text; }

// A denominator needs no brackets when it is one number, letter, command or root.
std::string AsDenominator(const std::string& text) {
  size_t at = text.starts_with('\\') ? 1 : 0;
  if (at == 0 && text.size() == 1) return text;
  while (at > 0 && at < text.size() && IsLetter(text[at])) ++at;
  const bool is_command = at > 1 && at == text.size();
  const bool is_root = text.starts_with("\\sqrt{") && text.find('}') == text.size() - 1;
  if (is_command || is_root || text.find_first_not_of("0123456789.") == text.npos) return text;
  return "(" + text + ")";
}

class Rewriter {
 public:
  Rewriter(std::string_view in, int depth) : in_(in), depth_(depth) {}

  std::string Run() {
    if (depth_ > kMaxDepth) return std::string(in_);
    while (at_ < in_.size()) Step();
    return SqueezeSpaces(out_);
  }

 private:
  char Peek() const { return at_ < in_.size() ? in_[at_] : '\0'; }
  void SkipSpaces() {
    while (at_ < in_.size() && IsSpace(in_[at_])) ++at_;
  }
  char LastWritten() const {
    size_t last = out_.find_last_not_of(' ');
    return last == out_.npos ? '\0' : out_[last];
  }

  void Step() {
    const char c = in_[at_];
    if (c == '\\') return ControlSequence();
    if (IsDigit(c)) return Number();
    if (IsLetter(c)) return Word();
    if (c == '{' && IsClosed(at_)) {
      out_ += Argument();
      return;
    }
    ++at_;
    if (c == '^' || c == '_') return Script(c);
    if (c == '(' || c == '[') ++brackets_;
    if (c == ')' || c == ']') --brackets_;
    if (c == '~') out_ += ' ';
    if (c != '~' && c != '$') out_ += c;
  }

  // Whether the group that opens at `at` ends. A lone brace is a character: "> ) }" completes a bracket
  // sequence.
  bool IsClosed(size_t at) const {
    for (int open = 0; at < in_.size(); ++at) {
      if (in_[at] == '\\') {
        ++at;
      } else if (in_[at] == '{') {
        ++open;
      } else if (in_[at] == '}' && --open == 0) {
        return true;
      }
    }
    return false;
  }

  // The next argument as it stands: a braced group without its braces, a command, or one character.
  std::string_view RawArgument() {
    SkipSpaces();
    const size_t begin = at_;
    if (at_ >= in_.size()) return {};
    if (in_[at_] == '\\') {
      ++at_;
      if (!IsLetter(Peek())) {
        at_ = std::min(at_ + 1, in_.size());
      } else {
        while (IsLetter(Peek())) ++at_;
      }
      return in_.substr(begin, at_ - begin);
    }
    if (in_[at_] != '{') return in_.substr(at_++, 1);
    for (int open = 0; at_ < in_.size(); ++at_) {
      if (in_[at_] == '\\') {
        ++at_;
      } else if (in_[at_] == '{') {
        ++open;
      } else if (in_[at_] == '}' && --open == 0) {
        ++at_;
        return in_.substr(begin + 1, at_ - begin - 2);
      }
    }
    at_ = in_.size();
    return in_.substr(begin + 1);  // the group is never closed
  }

  std::string Argument() { return Rewriter(RawArgument(), depth_ + 1).Run(); }

  // The separator of thousands at position `at`: its length, or 0. ",\!" and "{,}" are unmistakable; a bare
  // comma is one only outside brackets, where "(1,200)" is a point.
  size_t ThousandsSeparator(size_t at) const {
    const std::string_view rest = in_.substr(at);
    size_t length = rest.starts_with("{,}") ? 3 : 0;
    if (rest.starts_with(',')) {
      const size_t mark = rest.find_first_not_of(' ', 1);
      const bool thin_space = mark != rest.npos && rest.substr(mark).starts_with("\\!");
      length = thin_space       ? std::min(rest.find_first_not_of(' ', mark + 2), rest.size())
               : brackets_ == 0 ? 1
                                : 0;
    }
    return length > 0 && length < rest.size() && IsDigit(rest[length]) ? length : 0;
  }

  size_t DigitsAt(size_t at) const {
    size_t end = at;
    while (end < in_.size() && IsDigit(in_[end])) ++end;
    return end - at;
  }

  // A run of digits, with thousands separators dropped when every group after them has three digits.
  void Number() {
    const char before = LastWritten();
    const size_t num_digits = DigitsAt(at_);
    std::string digits(in_.substr(at_, num_digits));
    at_ += num_digits;
    if (num_digits > 3 || before == '.' || before == ',') {
      out_ += digits;
      return;
    }
    size_t end = at_;
    while (size_t separator = ThousandsSeparator(end)) {
      if (DigitsAt(end + separator) != 3) {
        out_ += digits.substr(0, num_digits);  // a list such as 1,200,15
        return;
      }
      digits += in_.substr(end + separator, 3);
      end += separator + 3;
    }
    at_ = end;
    out_ += digits;
  }

  void Word() {
    const size_t begin = at_;
    while (IsLetter(Peek())) ++at_;
    std::string_view word = in_.substr(begin, at_ - begin);
    if (word == "sqrt") return Root();
    if (word == "pi") {
      out_ += "\\pi ";
    } else if (word == "infinity") {
      out_ += "\\infty ";
    } else {
      out_ += word;
    }
  }

  void Script(char mark) {
    SkipSpaces();
    const size_t begin = at_;
    if (Peek() == '-') ++at_;
    if (const size_t num_digits = DigitsAt(at_)) {  // x^10 is meant as x^{10} wherever braces are not typed
      at_ += num_digits;
      out_ += mark + std::string("{") + std::string(in_.substr(begin, at_ - begin)) + "}";
      return;
    }
    at_ = begin;
    std::string argument = Argument();
    if (argument == "\\circ") {
      out_ += " degrees ";
    } else {
      out_ += mark + std::string("{") + argument + "}";
    }
  }

  void ControlSequence() {
    std::string_view command = RawArgument().substr(1);
    if (command.empty()) return;
    if (!IsLetter(command[0])) return ControlSymbol(command[0]);
    static const std::set<std::string_view> kFractions = {"frac", "dfrac", "tfrac", "cfrac"};
    static const std::set<std::string_view> kTexts = {
        "text",   "textbf", "textit", "textrm",       "textnormal", "mbox", "hbox",
        "mathrm", "mathbf", "mathit", "operatorname", "boxed",      "fbox"};
    static const std::set<std::string_view> kDropped = {
        "left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "bigg", "displaystyle", "textstyle"};
    static const std::set<std::string_view> kSpaces = {"quad", "qquad", "enspace", "thinspace"};
    if (kFractions.contains(command)) return Fraction();
    if (command == "sqrt") return Root();
    if (command == "begin" || command == "end") return Environment(command);
    if (kTexts.contains(command)) {
      out_ += " " + Argument() + " ";
    } else if (kSpaces.contains(command)) {
      out_ += ' ';
    } else if (kDropped.contains(command)) {
      if ((command == "left" || command == "right") && Peek() == '.') ++at_;
    } else {
      out_ += Respelled(command);
    }
  }

  static std::string Respelled(std::string_view command) {
    if (command == "times" || command == "cdot") return "*";
    if (command == "div") return "/";
    if (command == "degree") return " degrees ";
    if (command == "leq") command = "le";
    if (command == "geq") command = "ge";
    if (command == "neq") command = "ne";
    return "\\" + std::string(command) + (command == "circ" ? "" : " ");
  }

  void ControlSymbol(char symbol) {
    switch (symbol) {
      case '!':
      case '$':
      case '(':
      case ')':
      case '[':
      case ']':
        return;
      case ',':
      case ';':
      case ':':
      case '>':
      case ' ':
        out_ += ' ';
        return;
      case '{':
      case '}':
        brackets_ += symbol == '{' ? 1 : -1;
        out_ += std::string("\\") + symbol;
        return;
      case '\\':
        out_ += "\\\\";
        return;
      default:
        out_ += symbol;
    }
  }

  void Fraction() {
    const std::string numerator = Argument();
    const std::string denominator = Argument();
    const bool after_digit = IsDigit(LastWritten());
    if (AllDigits(numerator) && AllDigits(denominator)) {
      if (LastWritten() == '/') {
        out_ += "(" + numerator + "/" + denominator + ")";
      } else {
        out_ += (after_digit ? " " : "") + numerator + "/" + denominator;  // 5\frac12 is five and a half
      }
      return;
    }
    out_ += (after_digit ? "*" : "") + AsNumerator(numerator) + "/" + AsDenominator(denominator);
  }

  // \sqrt[n]{x}, \sqrt2, sqrt(x)
  void Root() {
    SkipSpaces();
    std::string index;
    if (Peek() == '[') {
      const size_t close = in_.find(']', at_);
      if (close != in_.npos) {
        index = std::string(in_.substr(at_, close + 1 - at_));
        at_ = close + 1;
      }
    }
    SkipSpaces();
    out_ += "\\sqrt" + index + "{" + (Peek() == '(' ? Bracketed() : Argument()) + "}";
  }

  // The contents of (...), rewritten.
  std::string Bracketed() {
    const size_t begin = ++at_;
    for (int open = 1; at_ < in_.size(); ++at_) {
      if (in_[at_] == '(') ++open;
      if (in_[at_] == ')' && --open == 0) {
        return Rewriter(in_.substr(begin, at_++ - begin), depth_ + 1).Run();
      }
    }
    return Rewriter(in_.substr(begin), depth_ + 1).Run();
  }

  void Environment(std::string_view command) {
    std::string name(RawArgument());
    if (name == "bmatrix") name = "pmatrix";
    out_ += "\\" + std::string(command) + "{" + name + "}";
  }

  std::string_view in_;
  size_t at_ = 0;
  int depth_;
  int brackets_ = 0;
  std::string out_;
};

// Drops what may surround an answer without belonging to it: quotes, emphasis, a final full stop.
std::string_view TrimOrnaments(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n\"'`*=:");
  if (begin == text.npos) return {};
  const size_t end = text.find_last_not_of(" \t\r\n\"'`*.,;:");
  return end == text.npos || end < begin ? std::string_view{} : text.substr(begin, end + 1 - begin);
}

}  // namespace

std::string PlainAnswer(std::string_view answer) {
  if (answer.size() > kMaxBytes) return std::string(answer);
  std::string folded = FoldUnicode(answer);
  std::string plain = Rewriter(TrimOrnaments(folded), 0).Run();
  return std::string(TrimOrnaments(plain));
}

}  // namespace elrea
