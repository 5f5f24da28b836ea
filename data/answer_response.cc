// Whether a whole response answers the gold: by the answer it marks, else by the number, the letter or the
// one of two opposite words (yes and no) that it settles on.
#include <array>

#include "core/text.h"
#include "data/answer.h"
#include "data/answer_latex.h"
#include "data/answer_quantity.h"

namespace elrea {
namespace {

struct OppositeWords {
  std::string_view one, other;  // lower case
  bool are_common;              // in sentences that settle nothing: "there is no way"
};
constexpr std::array<OppositeWords, 3> kOpposites = {
    {{"yes", "no", true}, {"true", "false", false}, {"valid", "invalid", false}}};

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return out;
}

const OppositeWords* OppositesOf(std::string_view gold) {
  const std::string word = Lower(gold);
  for (const OppositeWords& pair : kOpposites) {
    if (word == pair.one || word == pair.other) return &pair;
  }
  return nullptr;
}

bool IsOf(const OppositeWords& pair, std::string_view word) { return word == pair.one || word == pair.other; }

// The first word of a lower-case text when the text may stop there: "yes, ...", "no.", "yes it does", but not
// "no idea".
std::optional<std::string> LeadingWord(std::string_view lower, const OppositeWords& pair) {
  const size_t begin = lower.find_first_not_of(" \t\r\n*\"'`$(");
  if (begin == lower.npos) return std::nullopt;
  size_t end = begin;
  while (end < lower.size() && IsLetter(lower[end])) ++end;
  const std::string_view word = lower.substr(begin, end - begin);
  const bool may_stop = end == lower.size() || lower[end] != ' ' || word == "yes";
  return IsOf(pair, word) && may_stop ? std::optional<std::string>(word) : std::nullopt;
}

// The last word of a lower-case text, unless it is denied or one of two: "not true", "true or false".
std::optional<std::string> LastWord(std::string_view lower, const OppositeWords& pair) {
  std::vector<std::string> words(1);
  for (char c : lower) {
    if (IsLetter(c)) {
      words.back() += c;
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  if (words.empty() || !IsOf(pair, words.back())) return std::nullopt;
  const std::string before = words.size() > 1 ? words[words.size() - 2] : "";
  return before == "not" || before == "or" || before == "nor" ? std::nullopt
                                                              : std::optional<std::string>(words.back());
}

// Which of two opposite words a text settles on, if it does.
std::optional<std::string> SettledWord(std::string_view text, const OppositeWords& pair) {
  const std::string lower = Lower(Trim(text));
  if (!pair.are_common) {
    if (auto word = LastWord(lower, pair)) return word;
  }
  if (auto word = LeadingWord(lower, pair)) return word;
  const size_t line_end = lower.rfind('\n');
  return line_end == std::string::npos ? std::nullopt
                                       : LeadingWord(std::string_view(lower).substr(line_end), pair);
}

// "(C)", "C", "C)": an answer that is a letter and nothing else.
bool IsChoiceLetter(std::string_view plain) {
  if (plain.size() == 1) return plain[0] >= 'A' && plain[0] <= 'Z';
  if (plain.size() == 2) return IsLetter(plain[0]) && plain[1] == ')';
  return plain.size() == 3 && plain[0] == '(' && IsLetter(plain[1]) && plain[2] == ')';
}

}  // namespace

bool ResponseMatches(std::string_view text, std::string_view gold, AnswerStyle style,
                     AnswerMatching matching) {
  const auto answer = ExtractAnswer(text, style);
  if (answer && AnswersMatch(*answer, gold, matching)) return true;
  if (style != AnswerStyle::kAuto || matching == AnswerMatching::kStrict) return false;
  auto marked = ExtractAnswer(text, AnswerStyle::kBoxed);
  if (!marked) marked = ExtractAnswer(text, AnswerStyle::kHashes);
  if (!marked) marked = ExtractAnswer(text, AnswerStyle::kPhrase);
  const std::string plain_gold = PlainAnswer(gold);
  std::optional<std::string> other;
  if (const OppositeWords* pair = OppositesOf(plain_gold)) {
    other = SettledWord(marked ? *marked : text, *pair);
  } else if (IsChoiceLetter(plain_gold)) {
    other = ExtractAnswer(text, AnswerStyle::kChoice);
  } else if (!marked && ParseExactNumber(SplitUnit(plain_gold).value)) {
    other = ExtractAnswer(text, AnswerStyle::kNumber);
  }
  return other && AnswersMatch(*other, gold, matching);
}

}  // namespace elrea
