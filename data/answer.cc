// Comparing two answers: as bytes, or through their plain spelling, value and unit.
#include "data/answer.h"

#include <numeric>

#include "core/text.h"
#include "data/answer_latex.h"
#include "data/answer_quantity.h"

namespace elrea {
namespace {

constexpr int kMaxNesting = 8;  // of brackets in a list whose parts are compared one by one

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char Upper(char c) { return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c); }

std::string UpperText(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = Upper(c);
  return out;
}

struct Choice {
  char letter;
  bool marked;  // in brackets or called an option: then case does not count
};

// "C", "(C)", "C)", "(c) 120", "option C", from a plain answer.
std::optional<Choice> AsChoice(std::string_view plain) {
  for (std::string_view word : {"OPTION ", "CHOICE "}) {
    if (UpperText(plain.substr(0, word.size())) == word && plain.size() == word.size() + 1) {
      return Choice{Upper(plain.back()), true};
    }
  }
  if (plain.size() == 1 && plain[0] >= 'A' && plain[0] <= 'Z') return Choice{plain[0], false};
  if (plain.size() >= 3 && plain[0] == '(' && IsLetter(plain[1]) && plain[2] == ')') {
    return Choice{Upper(plain[1]), true};
  }
  if (plain.size() == 2 && IsLetter(plain[0]) && plain[1] == ')') return Choice{Upper(plain[0]), true};
  return std::nullopt;
}

// Whether the whole gold answer is a choice and not, say, "(C) and (D)".
bool IsChoiceOnly(std::string_view plain) {
  return plain.size() <= 8 && AsChoice(plain) && plain.find(',') == plain.npos &&
         (plain.size() <= 3 || plain[0] != '(');
}

// "x=5", "f(x)=5", "y\in[0,1]" without what stands before the value.
std::string_view DropVariable(std::string_view plain) {
  size_t at = 0;
  while (at < plain.size() && at < 2 && IsLetter(plain[at])) ++at;
  if (at == 0) return plain;
  if (plain.substr(at).starts_with("(") && plain.size() > at + 3 && plain[at + 2] == ')') at += 3;
  for (std::string_view relation : {"=", "\\in"}) {
    if (plain.substr(at).starts_with(relation) && plain.size() > at + relation.size()) {
      std::string_view value = plain.substr(at + relation.size());
      return value.find('=') == value.npos ? value : plain;
    }
  }
  return plain;
}

// Parts at the commas (and the word "and") that are in no bracket.
std::vector<std::string> ListParts(std::string_view plain) {
  std::vector<std::string> parts(1);
  int open = 0;
  for (size_t at = 0; at < plain.size(); ++at) {
    const char c = plain[at];
    if (c == '(' || c == '[' || c == '{') ++open;
    if (c == ')' || c == ']' || c == '}') --open;
    const bool is_and = open == 0 && plain.substr(at).starts_with("and ") && at > 0 &&
                        (plain[at - 1] == ' ' || plain[at - 1] == ',' || plain[at - 1] == '}');
    if (is_and || (c == ',' && open == 0)) {
      if (is_and) at += 3;
      if (!Trim(parts.back()).empty()) parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  for (std::string& part : parts) part = Trim(part);
  return parts;
}

// The inside of "(a,b)", "[a,b)" and the like, with the kind of brackets; empty when there is no pair around
// it all.
std::string_view InsideBrackets(std::string_view plain) {
  if (plain.size() < 3 || (plain[0] != '(' && plain[0] != '[')) return {};
  int open = 0;
  for (size_t at = 0; at < plain.size(); ++at) {
    if (plain[at] == '(' || plain[at] == '[') ++open;
    if (plain[at] == ')' || plain[at] == ']') --open;
    if (open == 0) return at + 1 == plain.size() ? plain.substr(1, plain.size() - 2) : std::string_view{};
  }
  return {};
}

// Words without mathematics may differ in case.
bool IsProse(std::string_view plain) {
  size_t num_letters = 0;
  for (char c : plain) {
    if (IsLetter(c)) {
      ++num_letters;
    } else if (c != ' ' && c != '\'' && c != '.' && static_cast<unsigned char>(c) < 0x80) {
      return false;
    }
  }
  return num_letters >= 2;
}

// "2 x" and "2x" are the same product.
std::string JoinProducts(std::string_view plain) {
  std::string out;
  for (size_t at = 0; at < plain.size(); ++at) {
    const bool parts_product = plain[at] == ' ' && at > 0 && at + 1 < plain.size() &&
                               IsDigit(plain[at - 1]) && IsLetter(plain[at + 1]);
    if (!parts_product) out += plain[at];
  }
  return out;
}

// One spelling of a value without its unit: "7/2", "SATURDAY", "3\\pi".
std::string NormalisePart(std::string_view plain) {
  const Quantity quantity = SplitUnit(plain);
  const auto number = ParseExactNumber(quantity.value);
  if (!number) return IsProse(plain) ? UpperText(plain) : JoinProducts(quantity.value);
  const int64_t divisor = std::gcd(number->numerator, number->denominator);
  const std::string numerator = std::to_string(number->numerator / divisor);
  return number->denominator == divisor ? numerator
                                        : numerator + "/" + std::to_string(number->denominator / divisor);
}

// The words of a plain list, "oven, pan, and pot" or "oven pan pot"; nothing when there is more in it than words.
std::optional<std::vector<std::string>> WordList(std::string_view plain) {
  std::vector<std::string> words(1);
  for (char c : plain) {
    if (c == ' ' || c == ',') {
      if (words.back() == "AND") words.back().clear();
      if (!words.back().empty()) words.emplace_back();
    } else if (IsLetter(c) || c == '\'' || c == '&' || c == '-') {
      words.back() += Upper(c);
    } else {
      return std::nullopt;
    }
  }
  return words;
}

// Lists of words of which one has commas and the other has not.
bool SameWordList(std::string_view a, std::string_view b) {
  if ((a.find(',') == a.npos) == (b.find(',') == b.npos)) return false;
  const auto words_a = WordList(a), words_b = WordList(b);
  return words_a && words_b && words_a->size() > 1 && *words_a == *words_b;
}

bool PlainMatch(std::string_view a, std::string_view b, int nesting);

bool SameQuantity(std::string_view a, std::string_view b) {
  const Quantity left = SplitUnit(a), right = SplitUnit(b);
  if (!left.unit.empty() && !right.unit.empty() && left.unit != right.unit) return false;
  if (left.value == right.value) return true;
  const auto x = ParseExactNumber(left.value), y = ParseExactNumber(right.value);
  return x && y && *x == *y;
}

bool SameParts(std::string_view a, std::string_view b, int nesting) {
  const std::string_view inside_a = InsideBrackets(a), inside_b = InsideBrackets(b);
  if (inside_a.empty() != inside_b.empty()) return false;
  if (!inside_a.empty()) {
    if (a.front() != b.front() || a.back() != b.back()) return false;
    a = inside_a;
    b = inside_b;
  }
  const std::vector<std::string> parts_a = ListParts(a), parts_b = ListParts(b);
  if (parts_a.size() != parts_b.size() || (parts_a.size() < 2 && inside_a.empty())) return false;
  for (size_t i = 0; i < parts_a.size(); ++i) {
    if (!PlainMatch(parts_a[i], parts_b[i], nesting + 1)) return false;
  }
  return true;
}

bool PlainMatch(std::string_view a, std::string_view b, int nesting) {
  if (a.empty() || b.empty()) return false;
  if (a == b || JoinProducts(a) == JoinProducts(b)) return true;
  const auto choice_a = AsChoice(a), choice_b = AsChoice(b);
  if (choice_a && choice_b && (IsChoiceOnly(a) || IsChoiceOnly(b)))
    return choice_a->letter == choice_b->letter;
  const std::string_view value_a = DropVariable(a), value_b = DropVariable(b);
  if ((value_a == a) != (value_b == b)) return PlainMatch(value_a, value_b, nesting);
  if (SameQuantity(a, b)) return true;
  if (IsProse(a) && IsProse(b) && UpperText(a) == UpperText(b)) return true;
  if (SameWordList(a, b)) return true;
  return nesting < kMaxNesting && SameParts(a, b, nesting);
}

}  // namespace

bool AnswersMatch(std::string_view prediction, std::string_view gold, AnswerMatching matching) {
  const std::string left = Trim(prediction), right = Trim(gold);
  if (left.empty() || right.empty()) return false;
  if (left == right) return true;
  if (matching == AnswerMatching::kStrict) return false;
  return PlainMatch(PlainAnswer(left), PlainAnswer(right), 0);
}

std::string NormaliseAnswer(std::string_view answer) {
  const std::string plain = PlainAnswer(answer);
  if (auto choice = AsChoice(plain); choice && IsChoiceOnly(plain)) return std::string(1, choice->letter);
  std::vector<std::string> parts = ListParts(DropVariable(plain));
  for (std::string& part : parts) part = NormalisePart(part);
  return Join(parts, ", ");  // a bare comma could part thousands
}

}  // namespace elrea
