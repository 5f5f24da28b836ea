// FLAN chain-of-thought, Alpaca, MMLU and BIG-Bench Hard.
#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "data/import_formats.h"

namespace elrea {
namespace {

const std::string kRow = "row";  // the caller adds file and line

[[noreturn]] void Malformed(const std::string& why) { throw Error(ErrorKind::kInvalidInput, why); }

// The files write a line break within a field as "\n"; no other escape is used, so "\\n" is a backslash and a
// break.
std::string WithLineBreaks(const std::string& field) {
  std::string out;
  for (size_t at = 0; at < field.size(); ++at) {
    if (field[at] == '\\' && at + 1 < field.size() && field[at + 1] == 'n') {
      out += '\n';
      ++at;
    } else {
      out += field[at];
    }
  }
  return Trim(out);
}

std::string ChoiceName(size_t index) { return "(" + std::string(1, static_cast<char>('A' + index)) + ")"; }

const std::string kAnswerLead = "The answer is ", kBbhLead = "So the answer is ";

std::vector<std::string> Letters(size_t count) {
  std::vector<std::string> letters;
  for (size_t i = 0; i < count; ++i) letters.emplace_back(1, static_cast<char>('A' + i));
  return letters;
}

// The answers among which a question of FLAN or BBH leaves to choose: letters for "(A) ..." lines after "Options:",
// the lines' own words for "- ..." lines (up to a colon, "- Sentence A: ..."), both words of a yes-or-no question
// without options. Empty where there are none, and where the target is none of them (options broken at a comma) or
// several.
std::vector<std::string> ListedChoices(const std::string& question, const std::string& target) {
  const auto holds_target = [&](const std::vector<std::string>& words) {
    return words.size() > 1 && std::count(words.begin(), words.end(), target) == 1;
  };
  const size_t options = question.rfind("Options:");
  if (options == question.npos) {
    for (const std::vector<std::string>& pair : {std::vector<std::string>{"yes", "no"}, {"Yes", "No"}, {"True", "False"}}) {
      if (holds_target(pair)) return pair;
    }
    return {};
  }
  std::vector<std::string> words, names;
  size_t num_letters = 0;
  for (std::string line : Split(question.substr(options), '\n')) {
    const bool is_item = line.starts_with("- ");
    if (is_item) line.erase(0, 2);
    if (line.starts_with(ChoiceName(num_letters) + " ")) {
      ++num_letters;
    } else if (is_item) {
      words.push_back(Trim(line));
      names.push_back(Trim(line.substr(0, line.find(':'))));
    }
  }
  for (size_t i = 0; i < num_letters && num_letters > 1; ++i) {
    if (target == ChoiceName(i)) return Letters(num_letters);
  }
  if (holds_target(words)) return words;
  return holds_target(names) ? names : std::vector<std::string>{};
}

// Gives the row its choices, and a lead that ends in the bracket where they are letters.
void AddListedChoices(const std::string& question, const std::string& lead, ImportedRow& row) {
  row.choices = ListedChoices(question, row.answer);
  if (!row.choices.empty()) row.choice_lead = row.answer.starts_with('(') ? lead + "(" : lead;
}

ImportedRow AlpacaRow(const std::string& instruction, const Json& instance, bool is_classification) {
  ImportedRow row{.instruction = instruction,
                  .input = JsonFieldOr<std::string>(instance, "input", "", kRow),
                  .output = JsonField<std::string>(instance, "output", kRow),
                  .source = "alpaca"};
  const std::string label = Trim(row.output);
  if (is_classification && label.find('\n') == label.npos) row.answer = label;
  return row;
}

}  // namespace

std::vector<ImportedRow> ConvertFlanCot(const Json& row, const ImportContext& context) {
  if (row.size() != 3) {
    Malformed(std::to_string(row.size()) +
              " tab-separated fields, expected instruction, answer and rationale");
  }
  const std::string answer = WithLineBreaks(row[1].get<std::string>());
  const std::string rationale = WithLineBreaks(row[2].get<std::string>());
  if (answer.empty()) Malformed("the answer field is empty");
  std::string set = context.file_stem;
  if (set.ends_with("_train")) set.resize(set.size() - 6);
  ImportedRow converted{.instruction = WithLineBreaks(row[0].get<std::string>()),
                        .output = rationale + (rationale.empty() ? "" : "\n") + kAnswerLead + answer + ".",
                        .answer = answer,
                        .source = "flan_cot/" + set};
  AddListedChoices(converted.instruction, kAnswerLead, converted);
  return {converted};
}

std::vector<ImportedRow> ConvertAlpaca(const Json& row, const ImportContext&) {
  const std::string instruction = JsonField<std::string>(row, "instruction", kRow);
  const bool is_classification = JsonFieldOr<bool>(row, "is_classification", false, kRow);
  if (!row.contains("instances")) return {AlpacaRow(instruction, row, is_classification)};
  const Json& instances = row["instances"];
  if (!instances.is_array() || instances.empty())
    Malformed("\"instances\" must be a list with at least one item");
  std::vector<ImportedRow> rows;
  for (const Json& instance : instances) rows.push_back(AlpacaRow(instruction, instance, is_classification));
  return rows;
}

std::vector<ImportedRow> ConvertMmlu(const Json& row, const ImportContext&) {
  const auto choices = JsonField<std::vector<std::string>>(row, "choices", kRow);
  const auto answer = JsonField<int64_t>(row, "answer", kRow);
  if (choices.size() < 2 || choices.size() > 26) Malformed("\"choices\" must have 2 to 26 items");
  if (answer < 0 || answer >= static_cast<int64_t>(choices.size())) {
    Malformed("\"answer\" is " + std::to_string(answer) + ", there are " + std::to_string(choices.size()) +
              " choices, counted from 0");
  }
  std::string instruction = Trim(JsonField<std::string>(row, "question", kRow));
  if (instruction.empty()) return {{.source = "mmlu"}};  // counted as an empty instruction
  for (size_t i = 0; i < choices.size(); ++i) instruction += "\n" + ChoiceName(i) + " " + Trim(choices[i]);
  const std::string letter = ChoiceName(static_cast<size_t>(answer));
  return {{.instruction = instruction,
           .output = kAnswerLead + letter + ".",
           .answer = letter,
           .source = "mmlu/" + JsonFieldOr<std::string>(row, "type", "unknown", kRow),
           .choices = Letters(choices.size()),
           .choice_lead = kAnswerLead + "("}};
}

std::string MmluExample(const ImportedRow& row) { return row.instruction + "\n" + row.output; }

std::string MmluDescription(const std::string& source) {
  std::string subject = source.substr(source.find('/') + 1);
  std::replace(subject.begin(), subject.end(), '_', ' ');
  return "The following are multiple choice questions (with answers) about " + subject + ".";
}

std::vector<ImportedRow> ConvertBbh(const Json& row, const ImportContext& context) {
  const std::string question = JsonField<std::string>(row, "input", kRow);
  const std::string target = Trim(JsonField<std::string>(row, "target", kRow));
  ImportedRow converted{.instruction = question,
                        .output = target.empty() ? "" : kBbhLead + target + ".",
                        .answer = target,
                        .source = "bbh/" + context.file_stem,
                        .canary = context.canary};
  if (context.few_shot && !Trim(question).empty())
    converted.instruction = "Q: " + question + "\nA: Let's think step by step.";
  AddListedChoices(question, kBbhLead, converted);
  return {converted};
}

FewShotText BbhExamples(const std::string& file_text, int64_t num_examples) {
  const std::string kRule = "-----\n";  // ends the canary lines
  const size_t rule = file_text.find(kRule);
  const std::string text = Trim(rule == file_text.npos ? file_text : file_text.substr(rule + kRule.size()));
  FewShotText prompt;
  size_t begin = text.find("\n\nQ:");
  prompt.description = Trim(text.substr(0, begin));
  while (begin != text.npos && static_cast<int64_t>(prompt.examples.size()) < num_examples) {
    const size_t end = text.find("\n\nQ:", begin + 1);
    prompt.examples.push_back(Trim(text.substr(begin, end == text.npos ? end : end - begin)));
    begin = end;
  }
  return prompt;
}

}  // namespace elrea
