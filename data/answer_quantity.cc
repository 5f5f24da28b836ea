// A small reader of numbers, and a table of the unit names that the mathematics data sets use.
#include "data/answer_quantity.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "core/text.h"

namespace elrea {
namespace {

constexpr size_t kMaxDigits = 15;  // so that products of two values fit 128 bits
constexpr size_t kMaxUnitWords = 4;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return out;
}

// Reads "12", "12.50" or ".5" from the start of `text`; returns its length, 0 when there is none or it is too
// long.
size_t ReadDecimal(std::string_view text, ExactNumber* number) {
  size_t at = 0, num_digits = 0;
  bool fraction = false;
  *number = {};
  for (; at < text.size(); ++at) {
    if (text[at] == '.' && !fraction && at + 1 < text.size() && IsDigit(text[at + 1])) {
      fraction = true;
    } else if (IsDigit(text[at])) {
      if (++num_digits > kMaxDigits) return 0;
      number->numerator = number->numerator * 10 + (text[at] - '0');
      if (fraction) number->denominator *= 10;
    } else {
      break;
    }
  }
  return num_digits == 0 ? 0 : at;
}

// a/b with both decimals; nothing on overflow or division by zero.
std::optional<ExactNumber> Divide(const ExactNumber& a, const ExactNumber& b) {
  ExactNumber quotient;
  if (b.numerator == 0 || __builtin_mul_overflow(a.numerator, b.denominator, &quotient.numerator) ||
      __builtin_mul_overflow(a.denominator, b.numerator, &quotient.denominator)) {
    return std::nullopt;
  }
  return quotient;
}

std::optional<ExactNumber> Add(const ExactNumber& a, const ExactNumber& b) {
  ExactNumber sum;
  int64_t left, right;
  if (__builtin_mul_overflow(a.numerator, b.denominator, &left) ||
      __builtin_mul_overflow(b.numerator, a.denominator, &right) ||
      __builtin_add_overflow(left, right, &sum.numerator) ||
      __builtin_mul_overflow(a.denominator, b.denominator, &sum.denominator)) {
    return std::nullopt;
  }
  return sum;
}

// The longest number at the start of `text`: its length, 0 when there is none.
size_t ReadNumber(std::string_view text, ExactNumber* number) {
  const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  size_t end = ReadDecimal(text.substr(sign), number);
  if (end == 0) return 0;
  end += sign;
  ExactNumber next, denominator;
  // "5 1/2": a whole number and a fraction
  if (number->denominator == 1 && end < text.size() && text[end] == ' ') {
    const size_t upper = ReadDecimal(text.substr(end + 1), &next);
    const size_t slash = end + 1 + upper;
    const size_t lower = upper > 0 && slash < text.size() && text[slash] == '/'
                             ? ReadDecimal(text.substr(slash + 1), &denominator)
                             : 0;
    if (lower > 0) {
      auto fraction = Divide(next, denominator);
      auto sum = fraction ? Add(*number, *fraction) : std::nullopt;
      if (!sum) return 0;
      *number = *sum;
      end = slash + 1 + lower;
    }
  } else if (end < text.size() && text[end] == '/') {
    const size_t lower = ReadDecimal(text.substr(end + 1), &denominator);
    if (lower > 0) {
      auto fraction = Divide(*number, denominator);
      if (!fraction) return 0;
      *number = *fraction;
      end += 1 + lower;
    }
  }
  if (text[0] == '-') number->numerator = -number->numerator;
  return end;
}

const std::map<std::string, std::string>& UnitNames() {
  static const std::map<std::string, std::string> kNames = {
      {"%", "percent"},     {"percent", "percent"}, {"degree", "degree"}, {"deg", "degree"},
      {"dollar", "dollar"}, {"cent", "cent"},       {"hour", "hour"},     {"hr", "hour"},
      {"h", "hour"},        {"minute", "minute"},   {"min", "minute"},    {"second", "second"},
      {"sec", "second"},    {"s", "second"},        {"day", "day"},       {"week", "week"},
      {"month", "month"},   {"year", "year"},       {"yr", "year"},       {"meter", "meter"},
      {"metre", "meter"},   {"mtr", "meter"},       {"m", "meter"},       {"kilometer", "km"},
      {"kilometre", "km"},  {"km", "km"},           {"centimeter", "cm"}, {"centimetre", "cm"},
      {"cm", "cm"},         {"mm", "mm"},           {"millimeter", "mm"}, {"inch", "inch"},
      {"inche", "inch"},    {"in", "inch"},         {"foot", "foot"},     {"feet", "foot"},
      {"ft", "foot"},       {"yard", "yard"},       {"mile", "mile"},     {"mi", "mile"},
      {"mph", "mph"},       {"kmph", "km/hour"},    {"kmh", "km/hour"},   {"liter", "liter"},
      {"litre", "liter"},   {"l", "liter"},         {"kg", "kg"},         {"kilogram", "kg"},
      {"g", "gram"},        {"gm", "gram"},         {"gram", "gram"},     {"pound", "pound"},
      {"lb", "pound"},      {"ounce", "ounce"},     {"unit", "unit"},     {"square", "square"},
      {"sq", "square"},     {"cubic", "cubic"},     {"cu", "cubic"},      {"per", "per"},
      {"rupee", "rupee"},   {"rs", "rupee"},        {"am", "am"},         {"pm", "pm"},
  };
  return kNames;
}

// One spelling of a unit word, or "" when it is not in the table.
std::string KnownUnit(const std::string& word) {
  const auto& names = UnitNames();
  auto found = names.find(word);
  if (found == names.end() && word.size() > 2 && word.back() == 's')
    found = names.find(word.substr(0, word.size() - 1));
  return found == names.end() ? "" : found->second;
}

// Words after a number that are no unit: they change the value or the sense.
bool ChangesValue(const std::string& word) {
  static const std::set<std::string> kWords = {
      "hundred", "thousand", "million", "billion",   "trillion", "lakh",  "lakhs", "crore", "dozen",
      "half",    "or",       "and",     "to",        "not",      "more",  "less",  "than",  "plus",
      "minus",   "over",     "mod",     "factorial", "squared",  "cubed", "if",    "but",   "is"};
  return kWords.contains(word);
}

bool IsLength(const std::string& word) {
  static const std::set<std::string> kLengths = {"meter", "km", "cm", "mm", "inch", "foot", "yard", "mile"};
  return kLengths.contains(KnownUnit(word));
}

// An exponent of 2 or 3 at the start of `text` ("^{2}", or a final "2" as in "cm 2"): its length, or 0.
size_t ExponentLength(std::string_view text, const std::vector<std::string>& words) {
  if (words.empty()) return 0;
  if (text.starts_with("^{2}") || text.starts_with("^{3}")) return 4;
  return (text == "2" || text == "3") && IsLength(words.back()) ? 1 : 0;
}

// Splits "cm^{2}", "km/hr", "square feet", "cm 2" into words and exponents; false when `text` holds anything
// else.
bool SplitUnitWords(std::string_view text, std::vector<std::string>* words) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    while (at < text.size() && IsLetter(text[at])) ++at;
    if (at > begin) {
      words->push_back(Lower(text.substr(begin, at - begin)));
    } else if (text[at] == ' ' || text[at] == '.') {
      ++at;
    } else if (text[at] == '%') {
      words->push_back("%");
      ++at;
    } else if (text[at] == '/' && !words->empty() && at + 1 < text.size() && IsLetter(text[at + 1])) {
      words->push_back("per");
      ++at;
    } else if (size_t length = ExponentLength(text.substr(at), *words)) {
      words->push_back(text[at + length / 2] == '2' ? "square" : "cubic");
      at += length;
    } else {
      return false;
    }
  }
  return true;
}

// The unit that `text` names, in one spelling; nothing when it is none. `any_word`: words that are not in the
// table count as well ("apples").
std::optional<std::string> ParseUnit(std::string_view text, bool any_word) {
  const std::string lower = Lower(Trim(text));
  if (lower == "p.m" || lower == "a.m") return std::string(1, lower[0]) + "m";
  std::vector<std::string> words, names;
  if (!SplitUnitWords(text, &words) || words.empty() || words.size() > kMaxUnitWords) return std::nullopt;
  for (const std::string& word : words) {
    std::string name = KnownUnit(word);
    // "2m" may be twice m
    if (word.size() == 1 && IsLetter(word[0]) && (!any_word || text[0] != ' ')) return std::nullopt;
    if (name.empty() && (!any_word || word.size() < 2 || ChangesValue(word))) return std::nullopt;
    if (name.empty()) name = word.size() > 3 && word.back() == 's' ? word.substr(0, word.size() - 1) : word;
    names.push_back(name);
  }
  // "square cm" and "cm^2" differ only in order
  std::stable_partition(names.begin(), names.end(),
                        [](const auto& n) { return n == "square" || n == "cubic"; });
  std::string unit = Join(names, " ");
  if (unit == "km per hour") unit = "km/hour";
  if (unit == "mile per hour") unit = "mph";
  return unit;
}

std::string_view DropCurrency(std::string_view text) {
  const std::string lower = Lower(text.substr(0, 8));
  for (std::string_view prefix :
       {"rs.", "rs ", "rs", "re.", "s.", "s ", "s:", "inr ", "usd ", "\xE2\x82\xAC", "\xC2\xA3"}) {
    if (!lower.starts_with(prefix) || text.size() == prefix.size()) continue;
    const char next = text[prefix.size()];
    if (IsDigit(next) || next == '.') return text.substr(prefix.size());
  }
  return text;
}

}  // namespace

bool operator==(const ExactNumber& a, const ExactNumber& b) {
  return static_cast<__int128>(a.numerator) * b.denominator ==
         static_cast<__int128>(b.numerator) * a.denominator;
}

std::optional<ExactNumber> ParseExactNumber(std::string_view text) {
  ExactNumber number;
  const size_t length = ReadNumber(text, &number);
  if (length == 0 || length != text.size()) return std::nullopt;
  return number;
}

Quantity SplitUnit(std::string_view plain) {
  std::string_view text = DropCurrency(plain);
  ExactNumber number;
  const size_t length = ReadNumber(text, &number);
  if (length == text.size()) return {std::string(text), ""};
  if (length > 0) {
    if (auto unit = ParseUnit(text.substr(length), true)) return {std::string(text.substr(0, length)), *unit};
  }
  // "3\pi inches", "\sqrt{2} cm": known units after any other expression
  for (size_t at = 1; at < text.size(); ++at) {
    const bool word_begins = text[at - 1] == ' ' || text[at - 1] == '}' || text[at] == ' ';
    if (!word_begins || !(IsLetter(text[at]) || text[at] == ' ' || text[at] == '%')) continue;
    if (auto unit = ParseUnit(text.substr(at), false)) {
      return {Trim(text.substr(0, at)), *unit};
    }
  }
  return {std::string(text), ""};
}

}  // namespace elrea
