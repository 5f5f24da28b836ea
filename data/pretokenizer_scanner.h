// Hand-written equivalents of the regular expressions with which byte-level BPE families cut text into
// pieces. Three to five times as fast as the expressions in PCRE2, and independent of its Unicode version;
// the test holds each against its expression. What they do NOT do: merge bytes into tokens (bpe_model.h).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace elrea {

enum class ScannerKind {
  kGpt2,    // OpenAI's GPT-2 expression
  kSmolLm,  // every numeric character alone, then kGpt2 on what lies between
  kLlama3,  // OpenAI's cl100k expression: numbers of up to three digits, line breaks kept together
  kQwen2,   // the same with single digits
};

// The expression that `kind` equals; for kSmolLm the second of its two steps. In Oniguruma's spelling.
std::string_view ScannerPattern(ScannerKind kind);
// The scanner of an expression, character by character the same; kSmolLm is never the answer.
std::optional<ScannerKind> ScannerFor(std::string_view pattern);

// Appends the pieces of `text`, which together are the whole text, in order. Linear time.
// REQUIRES: valid UTF-8.
void ScanPieces(ScannerKind kind, std::string_view text, std::vector<std::string_view>& pieces);

}  // namespace elrea
