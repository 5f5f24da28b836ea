// Public data sets in their own formats -> JSONL rows {"instruction", "input"?, "output", "answer"?,
// "source"} that both LoadDataset (training on "output") and ReadEvalRecords (scoring against "answer") read.
//
//   kind      reads                                            answer in the output             source
//   gsm8k     JSONL {question, answer}; <<...>> removed        "#### N" -> \boxed{N}            gsm8k
//   svamp     JSON array {Body, Question, Equation, Answer}    equation, \boxed{N}              svamp
//   math      JSONL {problem, solution}                        its own \boxed{}, the last one   math
//   mathqa    JSONL {problem, rationale, options, correct}     \boxed{value of the option}      mathqa
//   flan_cot  TSV instruction, answer, rationale               rationale, "The answer is A."    flan_cot/FILE
//   alpaca    JSONL or array: seed tasks with "instances"      the output as it is              alpaca
//             (a row each), or {instruction, input, output}
//   mmlu      JSONL {question, type, choices, answer}          "The answer is (C)."             mmlu/TYPE
//   bbh       JSON {canary, examples: [{input, target}]}       "So the answer is T."            bbh/TASK
//             For evaluation only
//
// flan_cot, mmlu and bbh rows also have "choices" and "choice_lead" where the answer is one of several, and with few_shot
// "few_shot": {"description", "examples"} (records.h).
//
// ExtractAnswer(output) is the answer wherever there is one. Nothing is removed but unusable rows; duplicates
// stay.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/files.h"
#include "data/ledger.h"

namespace elrea {

struct ImportOptions {
  int64_t limit = 0;  // rows written at most; 0: all. Rows after the last one written are not counted either.
  // Worked examples given with each row at most. bbh: from cot-prompts/TASK.txt beside the task file. mmlu: of
  // the row's subject, from `examples`; without it the subject's first rows, which are then no rows themselves.
  int64_t few_shot = 0;
  std::string examples{};  // mmlu: a file or folder in the same format, such as the set's dev split
  std::string source{};  // in place of the source in the table above
};

std::vector<std::string> ImportKinds();

// `path`: a file, or a folder whose files with the kind's suffix are read in the order of their names.
// `output` appears whole or not at all. Bad rows are counted in the ledger with their line, or their place in
// a JSON array. kNotFound; kInvalidInput for an unknown kind, an empty file, a file of which over half the
// rows are malformed (another format), or no usable row; kCorrupt when a file that is one JSON value does not
// parse.
DataLedger ImportDataset(const std::string& kind, const fs::path& path, const fs::path& output,
                         const ImportOptions& options = {});

}  // namespace elrea
