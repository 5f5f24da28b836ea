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
  return {{.instruction = WithLineBreaks(row[0].get<std::string>()),
           .output = rationale + (rationale.empty() ? "" : "\n") + "The answer is " + answer + ".",
           .answer = answer,
           .source = "flan_cot/" + set}};
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
           .output = "The answer is " + letter + ".",
           .answer = letter,
           .source = "mmlu/" + JsonFieldOr<std::string>(row, "type", "unknown", kRow)}};
}

std::vector<ImportedRow> ConvertBbh(const Json& row, const ImportContext& context) {
  std::string instruction = JsonField<std::string>(row, "input", kRow);
  if (!context.few_shot_prompt.empty() && !Trim(instruction).empty()) {
    instruction = context.few_shot_prompt + "\n\nQ: " + instruction + "\nA: Let's think step by step.";
  }
  const std::string target = Trim(JsonField<std::string>(row, "target", kRow));
  return {{.instruction = instruction,
           .output = target,
           .answer = target,
           .source = "bbh/" + context.file_stem,
           .canary = context.canary}};
}

std::string FewShotPrompt(const std::string& file_text, int64_t num_examples) {
  const std::string kRule = "-----\n";  // ends the canary lines
  const size_t rule = file_text.find(kRule);
  const std::string text = Trim(rule == file_text.npos ? file_text : file_text.substr(rule + kRule.size()));
  size_t end = 0;
  for (int64_t shown = 0; end != text.npos && shown <= num_examples; ++shown)
    end = text.find("\n\nQ:", end + 1);
  return Trim(text.substr(0, end));
}

}  // namespace elrea
