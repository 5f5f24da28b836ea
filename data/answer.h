// Short answers: finding one in a generated text, and deciding whether it equals the gold one (exact match).
//
// Two comparisons. Strict: the same bytes, white space at the ends aside. Flexible: the same after
// normalising what mathematics text writes in several ways, following the MATH and Minerva evaluations: LaTeX
// spacing and wrappers
// (\left, \!, \text{}, $), \frac{a}{b} == a/b, thousands commas, 5.0 == 5, equal fractions, units and per
// cent signs that only one side has, (C) == C, "x =" before a value, commas between words. Values are compared exactly, as
// fractions of integers: there is no tolerance (0.33 is not 1/3), order in lists counts, and nothing is
// simplified symbolically (2+x is not x+2).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace elrea {

enum class AnswerStyle {
  kAuto,    // \boxed{}, else ####, else "the answer is", else the last line that is not blank
  kBoxed,   // the last complete \boxed{...}
  kHashes,  // after the last "####", to the end of that line
  kPhrase,  // after the last "answer is" or "answer:", to the end of that sentence
  kChoice,  // a letter: of kBoxed, kHashes or kPhrase if it is one, else a leading "C)", else the last "(C)"
  kNumber,  // of kBoxed, kHashes or kPhrase if there is a number, else the last number of the text
  kWhole,   // all of the text
};
std::vector<std::string> AnswerStyleNames();            // "auto", "boxed", ...
AnswerStyle ParseAnswerStyle(const std::string& name);  // kInvalidInput naming the nearest style

// The answer as written, without white space at its ends; nothing when the text has none in this style.
std::optional<std::string> ExtractAnswer(std::string_view text, AnswerStyle style = AnswerStyle::kAuto);

enum class AnswerMatching { kStrict, kFlexible };

// Symmetric. An empty prediction matches nothing.
bool AnswersMatch(std::string_view prediction, std::string_view gold,
                  AnswerMatching matching = AnswerMatching::kFlexible);

// Whether a generated text answers `gold`: the extracted answer matches. With kAuto and flexible matching a text may
// also match by its last number (when it marks no answer), by its choice letter ("B is right", "option B") or by the
// one of yes and no, true and false, valid and invalid that its marked answer or it begins or ends with, when the gold
// answer is such.
bool ResponseMatches(std::string_view text, std::string_view gold, AnswerStyle style = AnswerStyle::kAuto,
                     AnswerMatching matching = AnswerMatching::kFlexible);

// A form in which most answers that match flexibly are equal strings: for votes and for reports.
std::string NormaliseAnswer(std::string_view answer);

}  // namespace elrea
