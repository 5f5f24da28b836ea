// The frame of every import: which files, which rows in them, what became of each, and the output file.
#include "data/import.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "data/import_formats.h"
#include "data/records.h"

namespace elrea {
namespace {

enum class Layout {
  kJsonRows,      // JSONL, or one JSON array
  kJsonExamples,  // one JSON object with "examples" and "canary"
  kTsv,
};

enum class Examples {
  kNone,
  kRows,        // rows of the same source
  kCotPrompts,  // the chain-of-thought prompts published with BBH
};

struct ImportKind {
  const char* name;
  Layout layout;
  const char* suffix;  // of the files in a folder
  RowConverter convert;
  Examples examples = Examples::kNone;
};

constexpr std::array<ImportKind, 8> kKinds = {{
    {"gsm8k", Layout::kJsonRows, ".jsonl", ConvertGsm8k},
    {"svamp", Layout::kJsonRows, ".json", ConvertSvamp},
    {"math", Layout::kJsonRows, ".jsonl", ConvertMath},
    {"mathqa", Layout::kJsonRows, ".jsonl", ConvertMathqa},
    {"flan_cot", Layout::kTsv, ".tsv", ConvertFlanCot},
    {"alpaca", Layout::kJsonRows, ".jsonl", ConvertAlpaca},
    {"mmlu", Layout::kJsonRows, ".jsonl", ConvertMmlu, Examples::kRows},
    {"bbh", Layout::kJsonExamples, ".json", ConvertBbh, Examples::kCotPrompts},
}};

constexpr double kMaxMalformedFraction = 0.5;

const ImportKind& FindKind(const std::string& name) {
  for (const ImportKind& kind : kKinds) {
    if (name == kind.name) return kind;
  }
  const auto nearest = NearestName(name, ImportKinds());
  throw Error(ErrorKind::kInvalidInput, "unknown data set kind '" + name + "'" +
                                            (nearest ? ", did you mean '" + *nearest + "'?" : "") +
                                            " (one of: " + Join(ImportKinds(), ", ") + ")");
}

std::vector<fs::path> FilesOf(const ImportKind& kind, const fs::path& path) {
  std::error_code failure;
  if (!fs::is_directory(path, failure)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.is_regular_file() && entry.path().extension() == kind.suffix) files.push_back(entry.path());
  }
  if (files.empty()) {
    throw Error(ErrorKind::kNotFound,
                path.string() + ": the folder holds no *" + kind.suffix + " file to import as " + kind.name);
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Receives a row and its place: a line number, or the place in a JSON array; both from 1.
using RowSink = std::function<void(int64_t number, const Json& row)>;
using FaultSink = std::function<void(int64_t number, const std::string& why)>;

void ForEachLineRow(const fs::path& file, Layout layout, const RowSink& row, const FaultSink& fault) {
  ForEachRow(file, [&](int64_t number, std::string_view text) {
    if (!IsValidUtf8(text)) return fault(number, "not valid UTF-8");
    if (layout == Layout::kTsv) return row(number, Json(Split(text, '\t')));
    Json parsed;
    try {
      parsed = ParseJson(text, "row");
    } catch (const Error& error) {
      return fault(number, error.message());
    }
    row(number, parsed);
  });
}

void ForEachItem(const Json& items, const RowSink& row) {
  int64_t number = 0;
  for (const Json& item : items) row(++number, item);
}

bool IsJsonArray(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  return first != text.npos && text[first] == '[';
}

// Of a task of BBH: cot-prompts/TASK.txt beside the task file.
FewShotText ReadBbhExamples(const fs::path& file, int64_t num_examples) {
  const fs::path prompts = file.parent_path() / "cot-prompts" / (file.stem().string() + ".txt");
  return BbhExamples(ReadFile(prompts), num_examples);
}

Json RowJson(const ImportedRow& row, const FewShotText& few_shot, const std::string& source) {
  Json json;
  json["instruction"] = row.instruction;
  if (!Trim(row.input).empty()) json["input"] = row.input;
  json["output"] = row.output;
  if (!row.answer.empty()) json["answer"] = row.answer;
  if (!row.choices.empty()) {
    json["choices"] = row.choices;
    json["choice_lead"] = row.choice_lead;
  }
  if (!few_shot.examples.empty())
    json["few_shot"] = {{"description", few_shot.description}, {"examples", few_shot.examples}};
  json["source"] = source;
  if (!row.canary.empty()) json["canary"] = row.canary;
  return json;
}

// One import under way: what has been counted and written so far. Single-thread.
class Import {
 public:
  Import(const ImportKind& kind, const ImportOptions& options, AtomicFile& output)
      : kind_(kind), options_(options), output_(output) {}

  // Rows of another file of the kind, to be shown as examples before those of ReadFileRows.
  void ReadExamples(const fs::path& file) {
    collecting_ = true;
    ReadFileRows(file);
    collecting_ = false;
  }

  void ReadFileRows(const fs::path& file) {
    const int64_t rows_before = ledger_.TotalRows(), malformed_before = ledger_.Total(RowFate::kMalformed);
    file_ = file.string();
    context_ = {file.stem().string(), "", kind_.examples == Examples::kCotPrompts && options_.few_shot > 0};
    const RowSink row = [this](int64_t number, const Json& value) { Convert(number, value); };
    const FaultSink fault = [this](int64_t number, const std::string& why) {
      if (!IsFull()) Count(kind_.name, RowFate::kMalformed, number, why);
    };
    if (kind_.layout == Layout::kJsonExamples) {
      const Json whole = ReadJsonFile(file);
      context_.canary = JsonFieldOr<std::string>(whole, "canary", "", file_);
      if (context_.few_shot)
        examples_["bbh/" + context_.file_stem] = ReadBbhExamples(file, options_.few_shot);
      ForEachItem(JsonField<Json>(whole, "examples", file_), row);
    } else if (kind_.layout == Layout::kJsonRows && IsJsonArray(ReadFile(file))) {
      ForEachItem(ReadJsonFile(file), row);
    } else {
      ForEachLineRow(file, kind_.layout, row, fault);
    }
    CheckFile(ledger_.TotalRows() - rows_before, ledger_.Total(RowFate::kMalformed) - malformed_before);
  }

  bool IsFull() const { return options_.limit > 0 && ledger_.Total(RowFate::kKept) >= options_.limit; }
  const DataLedger& ledger() const { return ledger_; }

 private:
  void Count(const std::string& source, RowFate fate, int64_t number, const std::string& why = "") {
    ledger_.Count(options_.source.empty() ? source : options_.source, fate, file_, number, why);
  }

  void Convert(int64_t number, const Json& value) {
    if (IsFull()) return;
    std::vector<ImportedRow> rows;
    try {
      rows = kind_.convert(value, context_);
    } catch (const Error& error) {
      return Count(kind_.name, RowFate::kMalformed, number, error.message());
    }
    for (const ImportedRow& row : rows) {
      if (IsFull()) return;
      if (TakeAsExample(row)) {
        Count(row.source, RowFate::kExample, number);
        continue;
      }
      if (Trim(row.instruction).empty() && Trim(row.input).empty()) {
        Count(row.source, RowFate::kEmptyInstruction, number);
      } else if (Trim(row.output).empty()) {
        Count(row.source, RowFate::kEmptyResponse, number);
      } else {
        output_.Write(JsonLine(RowJson(row, examples_[row.source],
                                       options_.source.empty() ? row.source : options_.source)) +
                      "\n");
        Count(row.source, RowFate::kKept, number);
      }
    }
  }

  // Whether the row goes into the examples of its source and not into the output. Of a file of examples no row
  // goes into the output; of the set's own rows, the first of each source do where no such file was given.
  bool TakeAsExample(const ImportedRow& row) {
    if (kind_.examples != Examples::kRows || options_.few_shot <= 0) return false;
    if (!collecting_ && !options_.examples.empty()) return false;
    FewShotText& text = examples_[row.source];
    text.description = MmluDescription(row.source);
    const bool is_full = static_cast<int64_t>(text.examples.size()) >= options_.few_shot;
    const bool is_usable = !Trim(row.instruction).empty() && !is_full;
    if (is_usable) text.examples.push_back(MmluExample(row));
    return collecting_ || is_usable;
  }

  void CheckFile(int64_t num_rows, int64_t num_malformed) const {
    if (num_rows == 0) throw Error(ErrorKind::kInvalidInput, file_ + ": the file has no rows");
    if (static_cast<double>(num_malformed) <= kMaxMalformedFraction * static_cast<double>(num_rows)) return;
    throw Error(ErrorKind::kInvalidInput,
                file_ + ": not in the format of " + kind_.name + ": " + FormatCount(num_malformed) + " of " +
                    FormatCount(num_rows) +
                    " rows are malformed; first: " + ledger_.FirstCulprits(RowFate::kMalformed, 1) +
                    ". Choose the kind that fits (" + Join(ImportKinds(), ", ") + ")");
  }

  const ImportKind& kind_;
  const ImportOptions& options_;
  AtomicFile& output_;
  DataLedger ledger_;
  std::string file_;
  ImportContext context_;
  bool collecting_ = false;                      // in ReadExamples
  std::map<std::string, FewShotText> examples_;  // by source
};

}  // namespace

std::vector<std::string> ImportKinds() {
  std::vector<std::string> names;
  for (const ImportKind& kind : kKinds) names.push_back(kind.name);
  return names;
}

DataLedger ImportDataset(const std::string& kind_name, const fs::path& path, const fs::path& output,
                         const ImportOptions& options) {
  const ImportKind& kind = FindKind(kind_name);
  if (options.few_shot > 0 && kind.examples == Examples::kNone) {
    throw Error(ErrorKind::kInvalidInput,
                kind_name + " has no worked examples: few_shot is for mmlu and bbh only");
  }
  if (!options.examples.empty() && (kind.examples != Examples::kRows || options.few_shot <= 0)) {
    throw Error(ErrorKind::kInvalidInput, "a file of examples is for mmlu with few_shot above 0 only");
  }
  const std::vector<fs::path> files = FilesOf(kind, path);
  std::error_code absent;  // the output need not exist yet
  for (const fs::path& file : files) {
    if (fs::equivalent(file, output, absent)) {
      throw Error(ErrorKind::kInvalidInput, output.string() + " is also the input: choose another output");
    }
  }
  AtomicFile rows(output);
  Import import(kind, options, rows);
  if (!options.examples.empty()) {
    for (const fs::path& file : FilesOf(kind, options.examples)) import.ReadExamples(file);
  }
  for (const fs::path& file : files) {
    if (!import.IsFull()) import.ReadFileRows(file);
  }
  if (import.ledger().Total(RowFate::kKept) == 0) {
    throw Error(ErrorKind::kInvalidInput,
                path.string() + ": no usable row (" + import.ledger().Summary() + ")");
  }
  rows.Commit();
  return import.ledger();
}

}  // namespace elrea
