// A regular expression of a tokenizer.json that has no scanner of its own, run by PCRE2 (JIT). Expressions
// there are written for Oniguruma; the only difference that matters is what \s means, and that is translated.
// Const-shareable.
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

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

// Replaces \s and \S by the white space of Unicode, which Oniguruma means; PCRE2 adds U+180E.
std::string TranslateWhiteSpace(std::string_view pattern);

}  // namespace elrea
