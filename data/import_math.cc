// GSM8K, SVAMP, MATH and MathQA, with their answers unified as a final \boxed{} (the paper's MATH-Combined).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/error.h"
#include "core/text.h"
#include "data/answer.h"
#include "data/import_formats.h"

namespace elrea {
namespace {

const std::string kRow = "row";  // the caller adds file and line

[[noreturn]] void Malformed(const std::string& why) { throw Error(ErrorKind::kInvalidInput, why); }

std::string WithBoxed(const std::string& reasoning, const std::string& answer) {
  const std::string sentence = "The answer is \\boxed{" + answer + "}.";
  return reasoning.empty() ? sentence : reasoning + "\n" + sentence;
}

// GSM8K's calculator marks, "48/2 = <<48/2=24>>24", are no language.
std::string WithoutCalculatorMarks(const std::string& text) {
  std::string out;
  size_t at = 0;
  for (;;) {
    const size_t open = text.find("<<", at);
    const size_t close = open == text.npos ? text.npos : text.find(">>", open);
    out += text.substr(at, close == text.npos ? text.npos : open - at);
    if (close == text.npos) return out;
    at = close + 2;
  }
}

// SVAMP equations, "( ( 8.0 + 4.0 ) - 3.0 )": a number, or two equations joined by an operator in brackets.
class Equation {
 public:
  explicit Equation(const std::string& text) {
    for (std::string& token : Split(text, ' ')) {
      if (!token.empty()) tokens_.push_back(std::move(token));
    }
    root_ = Read(0);
    if (at_ != tokens_.size()) Malformed("the equation has text after its end");
  }
  double value() const { return root_.value; }
  std::string text() const {  // "(8 + 4) - 3"
    return root_.text.starts_with('(') ? root_.text.substr(1, root_.text.size() - 2) : root_.text;
  }

 private:
  struct Term {
    double value = 0;
    std::string text;
  };

  std::string Next() {
    if (at_ == tokens_.size()) Malformed("the equation ends too early");
    return tokens_[at_++];
  }

  Term Read(int depth) {
    constexpr int kMaxDepth = 32;
    if (depth > kMaxDepth) Malformed("the equation is nested too deeply");
    const std::string token = Next();
    if (token != "(") {
      char* end = nullptr;
      const double value = std::strtod(token.c_str(), &end);
      if (*end != '\0') Malformed("the equation has '" + token + "' for a number");
      return {value, fmt::format("{}", value)};
    }
    const Term left = Read(depth + 1);
    const std::string op = Next();
    const Term right = Read(depth + 1);
    if (Next() != ")") Malformed("the equation lacks a bracket");
    return {Apply(left.value, op, right.value), "(" + left.text + " " + op + " " + right.text + ")"};
  }

  static double Apply(double left, const std::string& op, double right) {
    if (op == "+") return left + right;
    if (op == "-") return left - right;
    if (op == "*") return left * right;
    if (op == "/") return left / right;
    Malformed("the equation has '" + op + "' for an operator");
  }

  std::vector<std::string> tokens_;
  size_t at_ = 0;
  Term root_;
};

// "b ) 1215 ." -> "1215": some options repeat their letter, some end with a full stop.
std::string OptionValue(std::string value, char letter) {
  const std::string prefix = std::string(1, letter) + " ) ";
  value = Trim(value);
  while (value.starts_with(prefix)) value = Trim(value.substr(prefix.size()));
  while (value.ends_with(" .") || value.ends_with(" ,")) value = Trim(value.substr(0, value.size() - 2));
  return value;
}

// "a ) 17 hr , b ) 14 hr", or printed as a Python list "['a ) 17 hr', 'b ) 14 hr']" -> the values from a on.
std::vector<std::string> MathqaOptions(std::string text) {
  text = Trim(text);
  if (text.starts_with('[') && text.ends_with(']')) {
    text = text.substr(1, text.size() - 2);
    for (const std::string separator : {"', '", "\", \"", "', \"", "\", '"}) {
      for (size_t at = text.find(separator); at != text.npos; at = text.find(separator, at)) {
        text.replace(at, separator.size(), " , ");
      }
    }
    if (!text.empty() && (text.front() == '\'' || text.front() == '"')) text.erase(0, 1);
    if (!text.empty() && (text.back() == '\'' || text.back() == '"')) text.pop_back();
  }
  std::vector<std::string> values;
  if (!text.starts_with("a ) ")) return values;
  size_t begin = 0;
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    const std::string next_mark = std::string(" , ") + static_cast<char>(letter + 1) + " ) ";
    const size_t end = text.find(next_mark, begin);
    const size_t value_begin = begin + 4;
    values.push_back(OptionValue(
        end == text.npos ? text.substr(value_begin) : text.substr(value_begin, end - value_begin), letter));
    if (end == text.npos) return values;
    begin = end + 3;
  }
  return values;
}

}  // namespace

std::vector<ImportedRow> ConvertGsm8k(const Json& row, const ImportContext&) {
  const std::string solution = JsonField<std::string>(row, "answer", kRow);
  const auto answer = ExtractAnswer(solution, AnswerStyle::kHashes);
  if (!answer) Malformed("the answer has no '#### N'");
  const std::string reasoning = Trim(WithoutCalculatorMarks(solution.substr(0, solution.rfind("####"))));
  return {{.instruction = JsonField<std::string>(row, "question", kRow),
           .output = WithBoxed(reasoning, *answer),
           .answer = *answer,
           .source = "gsm8k"}};
}

std::vector<ImportedRow> ConvertSvamp(const Json& row, const ImportContext&) {
  std::string body = Trim(JsonField<std::string>(row, "Body", kRow));
  if (!body.empty() && body.find_last_of(".?!,") != body.size() - 1) body += ".";  // many bodies lack it
  const double value = JsonField<double>(row, "Answer", kRow);
  const std::string answer = fmt::format("{}", value);
  const Equation equation(JsonField<std::string>(row, "Equation", kRow));
  // In a few rows the equation does not give the answer; the answer is the right one.
  const bool holds = std::abs(equation.value() - value) < 1e-6 * std::max(1.0, std::abs(value));
  return {{.instruction = Trim(body + " " + Trim(JsonField<std::string>(row, "Question", kRow))),
           .output = WithBoxed(holds ? equation.text() + " = " + answer : "", answer),
           .answer = answer,
           .source = "svamp"}};
}

std::vector<ImportedRow> ConvertMath(const Json& row, const ImportContext&) {
  const std::string solution = JsonField<std::string>(row, "solution", kRow);
  const auto answer = ExtractAnswer(solution, AnswerStyle::kBoxed);
  if (!answer) Malformed("the solution has no \\boxed{}");
  return {{.instruction = JsonField<std::string>(row, "problem", kRow),
           .output = solution,
           .answer = *answer,
           .source = "math"}};
}

std::vector<ImportedRow> ConvertMathqa(const Json& row, const ImportContext&) {
  const std::vector<std::string> values = MathqaOptions(JsonField<std::string>(row, "options", kRow));
  const std::string correct = Trim(JsonField<std::string>(row, "correct", kRow));
  const size_t index = correct.size() == 1 ? static_cast<size_t>((correct[0] | 0x20) - 'a') : values.size();
  if (index >= values.size() || values[index].empty()) {
    Malformed("the options have no '" + correct + "', which is the correct one");
  }
  std::string options;
  for (size_t i = 0; i < values.size(); ++i) {
    options +=
        (i == 0 ? "\nOptions: " : " , ") + std::string(1, static_cast<char>('a' + i)) + " ) " + values[i];
  }
  std::string rationale = Trim(JsonField<std::string>(row, "rationale", kRow));
  if (rationale.starts_with('"')) rationale.erase(0, 1);
  if (rationale.ends_with('"')) rationale.pop_back();
  return {{.instruction = Trim(JsonField<std::string>(row, "problem", kRow)) + options,
           .output = WithBoxed(Trim(rationale), values[index]),
           .answer = values[index],
           .source = "mathqa"}};
}

}  // namespace elrea
