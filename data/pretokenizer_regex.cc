// PCRE2 behind RAII; match data is per call, so that one compiled expression serves all threads.
#include "data/pretokenizer_regex.h"

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/error.h"

namespace elrea {
namespace {

constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";

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
  const std::string translated = TranslateWhiteSpace(pattern);
  int fault = 0;
  PCRE2_SIZE offset = 0;
  code_->pattern = pattern;
  code_->compiled.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                      PCRE2_UTF | PCRE2_UCP, &fault, &offset, nullptr));
  if (!code_->compiled) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: the pre-tokenizer's expression \"{}\" is not understood: {} (at byte {})",
                            origin, pattern, ErrorText(fault), offset));
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
      throw Error(
          ErrorKind::kInvalidInput,
          fmt::format("the pre-tokenizer's expression \"{}\" gave up on a text of {} bytes: {}; split the "
                      "text into shorter rows",
                      code_->pattern, text.size(), ErrorText(rc)));
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    matches.push_back({bounds[0], bounds[1]});
    pos = bounds[1];
  }
  return matches;
}

std::string TranslateWhiteSpace(std::string_view pattern) {
  std::string translated;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped != 's' && escaped != 'S') {
        translated += {c, escaped};
      } else if (in_class) {
        translated += escaped == 's' ? kSpaces : kNotSpaces;
      } else {
        translated += fmt::format("[{}{}]", escaped == 's' ? "" : "^", kSpaces);
      }
      continue;
    }
    if (c == '[' && !in_class) {
      in_class = true;
    } else if (c == ']') {
      in_class = false;
    }
    translated += c;
  }
  return translated;
}

}  // namespace elrea
