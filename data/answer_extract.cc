// Finding the answer in a text: the last mark wins, because reasoning may name several candidates before it.
#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "data/answer.h"

namespace elrea {
namespace {

constexpr std::array<std::pair<const char*, AnswerStyle>, 7> kStyles = {{{"auto", AnswerStyle::kAuto},
                                                                         {"boxed", AnswerStyle::kBoxed},
                                                                         {"hashes", AnswerStyle::kHashes},
                                                                         {"phrase", AnswerStyle::kPhrase},
                                                                         {"choice", AnswerStyle::kChoice},
                                                                         {"number", AnswerStyle::kNumber},
                                                                         {"whole", AnswerStyle::kWhole}}};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return out;
}

std::optional<std::string> NonEmpty(std::string_view text) {
  std::string trimmed = Trim(text);
  if (trimmed.empty()) return std::nullopt;
  return trimmed;
}

// Contents of the brace group that opens at `open`; nothing when it is never closed.
std::optional<std::string_view> BraceGroup(std::string_view text, size_t open) {
  int depth = 0;
  for (size_t at = open; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;  // \{ and \} are characters
    } else if (text[at] == '{') {
      ++depth;
    } else if (text[at] == '}' && --depth == 0) {
      return text.substr(open + 1, at - open - 1);
    }
  }
  return std::nullopt;
}

// The last complete \boxed{...} or \fbox{...}, or \boxed followed by one word. A box cut off by the length
// limit is passed over.
std::optional<std::string> LastBoxed(std::string_view text) {
  for (size_t at = text.size(); at-- > 0;) {
    if (text[at] != '\\') continue;
    std::string_view rest = text.substr(at);
    const size_t length = rest.starts_with("\\boxed") ? 6 : rest.starts_with("\\fbox") ? 5 : 0;
    if (length == 0 || length >= rest.size() || IsLetter(rest[length])) continue;
    size_t open = length;
    while (open < rest.size() && rest[open] == ' ') ++open;
    if (open < rest.size() && rest[open] == '{') {
      auto group = BraceGroup(rest, open);
      if (group) return NonEmpty(*group);
    } else {
      const size_t end = std::min(rest.find_first_of(" $\n.,", open), rest.size());
      if (auto word = NonEmpty(rest.substr(open, end - open))) return word;
    }
  }
  return std::nullopt;
}

std::optional<std::string> AfterHashes(std::string_view text) {
  const size_t at = text.rfind("####");
  if (at == text.npos) return std::nullopt;
  return NonEmpty(text.substr(at + 4, text.find('\n', at) - at - 4));
}

// Length of the sentence at the start of `text`: to a line end, or to a full stop before white space or the
// end.
size_t SentenceLength(std::string_view text) {
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\n') return at;
    const bool ends = at + 1 == text.size() || IsSpace(text[at + 1]);
    if (text[at] == '.' && ends && !Trim(text.substr(0, at)).empty()) return at;
  }
  return text.size();
}

// Where "is X" or ": X" after the word "answer" begins its X; npos when something else follows the word.
size_t PhraseValue(const std::string& lower, size_t at) {
  const auto skip = [&](size_t from) {
    return std::min(lower.find_first_not_of("* \t\r\n", from), lower.size());
  };
  size_t begin = skip(at);
  const bool is =
      lower.compare(begin, 2, "is") == 0 && (begin + 2 == lower.size() || !IsLetter(lower[begin + 2]));
  if (is) begin = skip(begin + 2);
  const bool colon = begin < lower.size() && lower[begin] == ':';
  if (!is && !colon) return lower.npos;
  return colon ? skip(begin + 1) : begin;
}

std::optional<std::string> AfterPhrase(std::string_view text) {
  constexpr std::string_view kWord = "answer";
  const std::string lower = Lower(text);
  for (size_t end = lower.npos;;) {
    const size_t at = lower.rfind(kWord, end);
    if (at == lower.npos) return std::nullopt;
    const size_t begin = PhraseValue(lower, at + kWord.size());
    if (begin < text.size()) {
      if (auto found = NonEmpty(text.substr(begin, SentenceLength(text.substr(begin))))) return found;
    }
    if (at == 0) return std::nullopt;
    end = at - 1;
  }
}

std::optional<std::string> Marked(std::string_view text) {
  if (auto boxed = LastBoxed(text)) return boxed;
  if (auto hashes = AfterHashes(text)) return hashes;
  return AfterPhrase(text);
}

std::optional<std::string> LastLine(std::string_view text) {
  const std::string trimmed = Trim(text);
  const size_t line_end = trimmed.rfind('\n');
  return NonEmpty(line_end == std::string::npos ? trimmed : trimmed.substr(line_end + 1));
}

char UpperLetter(char c) { return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c); }

// Whether what follows a capital letter shows that it is no article: "B because ...", "B is right", "B, the gene".
bool IsAfterLetter(std::string_view rest) {
  for (std::string_view word : {" because ", " since ", " as ", " is "}) {
    if (rest.starts_with(word)) return true;
  }
  if (!rest.starts_with(", ")) return false;
  const size_t word_end = std::min(rest.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 2), rest.size());
  const std::string word = Lower(rest.substr(2, word_end - 2));
  return word.size() > 1 && word != "and" && word != "or";
}

// A choice letter at the start of `text`: "C", "(C) 120", "C) 120", "C. 120", "C because".
std::optional<char> LeadingLetter(std::string_view text) {
  if (text.size() >= 3 && text[0] == '(' && IsLetter(text[1]) && text[2] == ')') return UpperLetter(text[1]);
  if (text.empty() || !IsLetter(text[0])) return std::nullopt;
  const bool is_capital = UpperLetter(text[0]) == text[0];
  if (text.size() == 1 || std::string_view(").:}*$").find(text[1]) != std::string_view::npos ||
      (is_capital && IsAfterLetter(text.substr(1)))) {
    return UpperLetter(text[0]);
  }
  return std::nullopt;
}

// After the last "option" or "choice": "option C", "the choice is (C)".
std::optional<char> LetterAfterOption(const std::string& text) {
  const std::string lower = Lower(text);
  for (size_t end = lower.npos;;) {
    const size_t at = std::max(lower.rfind("option", end) + 1, lower.rfind("choice", end) + 1);  // 0: not found
    if (at == 0) return std::nullopt;
    size_t next = std::min(lower.find_first_not_of(" *:", at + 5), lower.size());
    if (lower.compare(next, 3, "is ") == 0) next = std::min(lower.find_first_not_of(" *:", next + 3), lower.size());
    if (auto letter = LeadingLetter(std::string_view(text).substr(next))) return letter;
    if (at == 1) return std::nullopt;
    end = at - 2;
  }
}

// A choice letter at the start of `text`, after the last "option" or "choice", or the last "(C)" in it. A bare
// letter in running text is no choice: "A" is also an article.
std::optional<std::string> ChoiceIn(std::string_view text) {
  std::string trimmed = Trim(text);
  while (!trimmed.empty() && (trimmed[0] == '*' || trimmed[0] == '$')) trimmed.erase(0, 1);
  if (trimmed.starts_with("\\text{")) trimmed.erase(0, 6);
  const auto name = [](char letter) { return std::string(1, letter); };
  if (auto letter = LeadingLetter(trimmed)) return name(*letter);
  if (auto letter = LetterAfterOption(trimmed)) return name(*letter);
  for (size_t at = trimmed.size(); at >= 3; --at) {
    if (trimmed[at - 3] == '(' && IsLetter(trimmed[at - 2]) && trimmed[at - 1] == ')')
      return name(UpperLetter(trimmed[at - 2]));
  }
  return std::nullopt;
}

// The last "-1,234.50" or "3/4" of the text.
std::optional<std::string> LastNumber(std::string_view text) {
  size_t end = text.size();
  while (end > 0 && !IsDigit(text[end - 1])) --end;
  if (end == 0) return std::nullopt;
  size_t begin = end;
  auto digit_before = [&](size_t at) { return at > 0 && IsDigit(text[at - 1]); };
  while (begin > 0) {
    const char c = text[begin - 1];
    const bool joins = (c == '.' || c == ',' || c == '/') && digit_before(begin - 1);
    if (!IsDigit(c) && !joins) break;
    --begin;
  }
  if (begin > 0 && text[begin - 1] == '.' && !digit_before(begin - 1)) --begin;  // ".5"
  const bool minus = begin > 0 && text[begin - 1] == '-' &&
                     (begin == 1 || !(IsDigit(text[begin - 2]) || IsLetter(text[begin - 2])));
  return std::string(text.substr(minus ? begin - 1 : begin, end - (minus ? begin - 1 : begin)));
}

}  // namespace

std::vector<std::string> AnswerStyleNames() {
  std::vector<std::string> names;
  for (const auto& [name, style] : kStyles) names.push_back(name);
  return names;
}

AnswerStyle ParseAnswerStyle(const std::string& name) {
  for (const auto& [known, style] : kStyles) {
    if (name == known) return style;
  }
  const auto nearest = NearestName(name, AnswerStyleNames());
  throw Error(ErrorKind::kInvalidInput, "unknown answer style '" + name + "'" +
                                            (nearest ? ", did you mean '" + *nearest + "'?" : "") +
                                            " (one of: " + Join(AnswerStyleNames(), ", ") + ")");
}

std::optional<std::string> ExtractAnswer(std::string_view text, AnswerStyle style) {
  const auto marked = [&] { return Marked(text); };
  switch (style) {
    case AnswerStyle::kBoxed:
      return LastBoxed(text);
    case AnswerStyle::kHashes:
      return AfterHashes(text);
    case AnswerStyle::kPhrase:
      return AfterPhrase(text);
    case AnswerStyle::kWhole:
      return NonEmpty(text);
    case AnswerStyle::kChoice:
      if (auto answer = marked()) {
        if (auto choice = ChoiceIn(*answer)) return choice;
      }
      return ChoiceIn(text);
    case AnswerStyle::kNumber:
      if (auto answer = marked()) {
        if (auto number = LastNumber(*answer)) return number;
      }
      return LastNumber(text);
    case AnswerStyle::kAuto:
      break;
  }
  if (auto answer = marked()) return answer;
  return LastLine(text);
}

}  // namespace elrea
