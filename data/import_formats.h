// One converter per data set format: a row as it is in the file -> rows as this project reads them. See
// import.h.
#pragma once

#include <string>
#include <vector>

#include "core/json.h"

namespace elrea {

struct ImportedRow {
  std::string instruction{};
  std::string input{};  // may be empty
  std::string output{};
  std::string answer{};  // the short gold answer; empty when the row has none
  std::string source{};
  std::vector<std::string> choices{};  // of which `answer` is one, as flexible matching sees it
  std::string choice_lead{};           // of a response, before the choice
  std::string canary{};                // kept in each row, so that evaluation data stay recognisable
};

// What stands before a question: the task's description and worked examples, each a whole text.
struct FewShotText {
  std::string description{};
  std::vector<std::string> examples{};
};

// What a converter may need beside the row.
struct ImportContext {
  std::string file_stem;
  std::string canary;      // of the file
  bool few_shot = false;  // whether the question will stand after examples of the file's form
};

// Each throws an Error whose message is the reason when the row does not have the format.
using RowConverter = std::vector<ImportedRow> (*)(const Json& row, const ImportContext& context);
std::vector<ImportedRow> ConvertGsm8k(const Json& row, const ImportContext& context);
std::vector<ImportedRow> ConvertSvamp(const Json& row, const ImportContext& context);
std::vector<ImportedRow> ConvertMath(const Json& row, const ImportContext& context);
std::vector<ImportedRow> ConvertMathqa(const Json& row, const ImportContext& context);
std::vector<ImportedRow> ConvertFlanCot(const Json& row, const ImportContext& context);  // row: three strings
std::vector<ImportedRow> ConvertAlpaca(const Json& row, const ImportContext& context);
std::vector<ImportedRow> ConvertMmlu(const Json& row, const ImportContext& context);
std::vector<ImportedRow> ConvertBbh(const Json& row, const ImportContext& context);

// The description and the first `num_examples` worked examples of a chain-of-thought prompt file of BBH, without
// the canary lines at its top.
FewShotText BbhExamples(const std::string& file_text, int64_t num_examples);
// A row as a worked example of others of its source, and the description of such a source.
std::string MmluExample(const ImportedRow& row);
std::string MmluDescription(const std::string& source);

}  // namespace elrea
