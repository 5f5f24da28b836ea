// A regular expression of a tokenizer.json that has no scanner of its own, run by PCRE2 (JIT). Expressions
// there are written for Oniguruma; where that means something else by the same signs, they are translated, or
// refused. Const-shareable.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace elrea {

class PreTokenizerRegex {
 public:
  // kInvalidInput with PCRE2's message and the offset when the expression does not compile; `origin` is
  // named.
  PreTokenizerRegex(const std::string& pattern, const std::string& origin);
  ~PreTokenizerRegex();
  PreTokenizerRegex(PreTokenizerRegex&&) noexcept;
  PreTokenizerRegex& operator=(PreTokenizerRegex&&) noexcept;

  struct Match {
    size_t begin, end;  // bytes
  };
  // Non-overlapping non-empty matches from left to right. REQUIRES: valid UTF-8.
  // kInvalidInput when the expression needs more steps on this text than PCRE2 allows.
  std::vector<Match> FindAll(std::string_view text) const;
  // `text` with `to`, literally, in the place of every such match.
  std::string ReplaceAll(std::string_view text, std::string_view to) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

// An expression of Oniguruma's as PCRE2 reads it: \s and \S become the white space of Unicode, to which PCRE2
// adds U+180E; \h and \H hexadecimal digits; \u00E9 a character; properties take in the characters of newer
// Unicode versions; a class inside a class its members. kInvalidInput for a negated class inside a class and
// for an intersection of classes.
std::string TranslateExpression(std::string_view pattern);

}  // namespace elrea
