// PCRE2 behind RAII; match data is per call, so that one compiled expression serves all threads.
#include "data/pretokenizer_regex.h"

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/error.h"
#include "data/unicode_additions.h"

namespace elrea {
namespace {

constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";

constexpr std::string_view kHexDigits = "0-9A-Fa-f";
constexpr std::string_view kNotHexDigits = R"(\x{0}-/:-@G-`g-\x{10ffff})";

std::string ErrorText(int code) {
  unsigned char text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct PreTokenizerRegex::Code {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> compiled{nullptr, &pcre2_code_free};
  std::string pattern;
};

PreTokenizerRegex::PreTokenizerRegex(const std::string& pattern, const std::string& origin)
    : code_(std::make_unique<Code>()) {
  const std::string translated = WithContext(origin, [&] { return TranslateExpression(pattern); });
  int fault = 0;
  PCRE2_SIZE offset = 0;
  code_->pattern = pattern;
  code_->compiled.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                      PCRE2_UTF | PCRE2_UCP, &fault, &offset, nullptr));
  if (!code_->compiled) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: the expression \"{}\" is not understood: {} (at byte {})", origin, pattern,
                            ErrorText(fault), offset));
  }
  pcre2_jit_compile(code_->compiled.get(),
                    PCRE2_JIT_COMPLETE);  // where JIT is missing, matching is only slower
}

PreTokenizerRegex::~PreTokenizerRegex() = default;
PreTokenizerRegex::PreTokenizerRegex(PreTokenizerRegex&&) noexcept = default;
PreTokenizerRegex& PreTokenizerRegex::operator=(PreTokenizerRegex&&) noexcept = default;

std::vector<PreTokenizerRegex::Match> PreTokenizerRegex::FindAll(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  std::vector<Match> matches;
  for (size_t pos = 0; pos < text.size();) {
    const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    int rc = pcre2_match(code_->compiled.get(), subject, text.size(), pos, options, data.get(), nullptr);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its backtracking on the heap
      rc = pcre2_match(code_->compiled.get(), subject, text.size(), pos, options | PCRE2_NO_JIT, data.get(),
                       nullptr);
    }
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("the expression \"{}\" gave up on a text of {} bytes: {}; split the "
                              "text into shorter rows",
                              code_->pattern, text.size(), ErrorText(rc)));
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    matches.push_back({bounds[0], bounds[1]});
    pos = bounds[1];
  }
  return matches;
}

std::string PreTokenizerRegex::ReplaceAll(std::string_view text, std::string_view to) const {
  std::string replaced;
  size_t pos = 0;
  for (const Match& match : FindAll(text)) {
    replaced.append(text, pos, match.begin - pos).append(to);
    pos = match.end;
  }
  return replaced.append(text.substr(pos));
}

namespace {

// Reads a pattern from left to right, one construct at a time.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string Run() {
    while (pos_ < pattern_.size()) {
      if (pattern_[pos_] == '\\' && pos_ + 1 < pattern_.size()) {
        Escape();
      } else if (depth_ == 0) {
        Outside();
      } else {
        Inside();
      }
    }
    return std::move(made_);
  }

 private:
  void Copy(size_t count) {
    made_ += pattern_.substr(pos_, count);
    pos_ += count;
  }

  // \s and the like.
  void Escape() {
    const char escaped = pattern_[pos_ + 1];
    const bool upper = escaped == 'S' || escaped == 'H';
    if (escaped == 's' || escaped == 'S') {
      Members(upper ? kNotSpaces : kSpaces, kSpaces, upper);
    } else if (escaped == 'p' || escaped == 'P' || escaped == 'w' || escaped == 'd') {
      Property();
      return;
    } else if (escaped == 'u' && pattern_.size() >= pos_ + 6) {
      made_ += fmt::format("\\x{{{}}}", pattern_.substr(pos_ + 2, 4));
      pos_ += 6;
      return;
    } else if (escaped == 'h' || escaped == 'H') {
      Members(upper ? kNotHexDigits : kHexDigits, kHexDigits, upper);
    } else {
      Copy(2);
      return;
    }
    pos_ += 2;
  }

  // \p{L} and the like, with the characters of newer Unicode versions.
  void Property() {
    const std::string_view rest = pattern_.substr(pos_);
    const bool braced = rest.size() > 2 && rest[2] == '{';
    const size_t length = rest[1] == 'w' || rest[1] == 'd' ? 2 : braced ? rest.find('}') + 1 : 3;
    const std::string_view escape = rest.substr(0, length == 0 ? rest.size() : length);
    const std::string_view name = length == 2 ? escape.substr(1)
                                  : braced    ? escape.substr(3, length - 4)
                                              : escape.substr(2);
    std::string_view members;
    for (const PropertyAddition& addition : PropertyAdditions()) {
      if (addition.name == name) members = addition.members;
    }
    if (rest[1] == 'P') {  // inside a class there is no way to take members away
      made_ +=
          depth_ > 0 || members.empty() ? std::string(escape) : fmt::format("[^\\p{{{}}}{}]", name, members);
    } else {
      const std::string all = std::string(escape) + std::string(members);
      made_ += depth_ > 0 || members.empty() ? all : "[" + all + "]";
    }
    pos_ += escape.size();
  }

  void Members(std::string_view in_class, std::string_view alone, bool negated) {
    made_ += depth_ > 0 ? std::string(in_class) : fmt::format("[{}{}]", negated ? "^" : "", alone);
  }

  void Outside() {
    if (pattern_[pos_] == '[') {
      depth_ = 1;
      Copy(1);
      if (pos_ < pattern_.size() && pattern_[pos_] == '^') Copy(1);
      if (pos_ < pattern_.size() && pattern_[pos_] == ']') Copy(1);  // the first is a member
      return;
    }
    Copy(1);
  }

  void Inside() {
    const std::string_view rest = pattern_.substr(pos_);
    if (rest.starts_with("&&")) Refuse("an intersection of classes");
    if (rest.starts_with("[:") && rest.find(":]") != std::string_view::npos) {
      Copy(rest.find(":]") + 2);
    } else if (rest.starts_with("[^")) {
      Refuse("a negated class inside a class");
    } else if (rest[0] == '[') {
      ++depth_;
      ++pos_;
    } else if (rest[0] == ']' && --depth_ > 0) {
      ++pos_;
    } else {
      Copy(1);
    }
  }

  [[noreturn]] void Refuse(const char* construct) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("the expression \"{}\" has {} at byte {}, which is not supported", pattern_,
                            construct, pos_));
  }

  std::string_view pattern_;
  std::string made_;
  size_t pos_ = 0;
  int depth_ = 0;  // of classes
};

}  // namespace

std::string TranslateExpression(std::string_view pattern) { return Translator(pattern).Run(); }

}  // namespace elrea
