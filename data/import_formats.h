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
  std::string canary{};  // kept in each row, so that evaluation data stay recognisable
};

// What a converter may need beside the row.
struct ImportContext {
  std::string file_stem;
  std::string canary;           // of the file
  std::string few_shot_prompt;  // bbh with few_shot > 0: what stands before each question
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

// The description and the first `num_examples` worked examples of a chain-of-thought prompt file, without the
// canary lines at its top.
std::string FewShotPrompt(const std::string& file_text, int64_t num_examples);

}  // namespace elrea
