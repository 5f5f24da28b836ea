#include "cli/run_data.h"

#include <fmt/format.h>

#include <optional>

#include "core/error.h"
#include "core/log.h"
#include "data/records.h"

namespace elrea {
namespace {

// Held-out rows stay as they were written, with their source spelt out: which of their fields matter is the
// business of the evaluation.
std::string TestLines(const std::vector<std::string>& files, const ColumnMap& columns, DataLedger& ledger) {
  std::string lines;
  for (const std::string& file : files) {
    // Refuses a file without usable rows.
    ReadEvalRecords(file, {.need_answer = true, .columns = columns});
    const auto malformed = [&](int64_t number, const std::string& why) {
      ledger.Count(DataFileStem(file), RowFate::kMalformed, file, number, why);
    };
    const auto keep = [&](int64_t number, std::string_view text) {
      auto parsed = ParseEvalRow(text, file, number);
      if (auto* fault = std::get_if<RowFault>(&parsed)) {
        ledger.Count(fault->source, fault->fate, file, number, fault->why);
        return;
      }
      const EvalRecord& record = std::get<EvalRecord>(parsed);
      const bool usable = record.answer.has_value();
      ledger.Count(record.source, usable ? RowFate::kKept : RowFate::kMalformed, file, number,
                   usable ? "" : "no 'answer' to compare with");
      if (!usable) return;
      Json row = ParseJson(text, fmt::format("{}:{}", file, number));
      row["source"] = record.source;
      lines += JsonLine(row) + "\n";
    };
    ForEachDataRow(file, columns, {keep, malformed});
  }
  return lines;
}

DatasetOptions OptionsFor(const Run& run, const std::vector<std::string>& files) {
  DatasetOptions options = run.config.data.train;
  options.files = files;
  return options;
}

DatasetPlace PlaceOf(const Run& run, const char* split) { return {run.paths.data(), split}; }

// One split's ledger to stderr and into `manifest`.
void Record(const char* split, const std::string& checksum, const DataLedger& ledger, Json& manifest) {
  LogInfo("data", "{} rows:\n{}", split, ledger.ToTable());
  manifest[split] = {{"checksum", checksum}, {"ledger", ledger.ToJson()}};
}

void MakeSplit(const Run& run, const char* split, const std::vector<std::string>& files, Json& manifest) {
  const WrittenDataset written =
      WriteDataset(OptionsFor(run, files), *run.backbone.tokenizer, *run.backbone.chat, PlaceOf(run, split));
  Record(split, written.checksum, written.ledger, manifest);
}

void MakeData(const Run& run) {
  const RunDataOptions& options = run.config.data;
  Json manifest = {{"format_version", 1}};
  MakeSplit(run, "train", options.train.files, manifest);
  if (!options.validation_files.empty()) MakeSplit(run, "validation", options.validation_files, manifest);
  if (!options.test_files.empty()) {
    DataLedger ledger;
    const std::string lines = TestLines(options.test_files, ParseColumns(options.train.columns), ledger);
    WriteFileAtomically(run.paths.rows("test"), lines);
    Record("test", ChecksumHex(lines), ledger, manifest);
  }
  WriteJsonFile(run.paths.ledger(), manifest);
}

// The checksum of a split's file; nothing when the run has no such split, kCorrupt when the file is not the one the
// ledger was written with.
std::optional<std::string> CheckSplit(const Run& run, const Json& manifest, const char* split) {
  if (!manifest.contains(split)) return std::nullopt;
  const std::string expected =
      JsonField<std::string>(manifest[split], "checksum", run.paths.ledger().string());
  if (FileChecksumHex(run.paths.rows(split)) == expected) return expected;
  throw Error(
      ErrorKind::kCorrupt,
      fmt::format("{} was changed since the run was made; delete {} to start over from the original files",
                  run.paths.rows(split).string(), run.paths.root.string()));
}

// Without rows when the run has no such split.
Dataset LoadSplit(const Run& run, const Json& manifest, const char* split) {
  const auto checksum = CheckSplit(run, manifest, split);
  if (!checksum) return {};
  return OpenDataset(PlaceOf(run, split), *checksum, run.config.data.train.max_tokens, *run.backbone.tokenizer,
                     *run.backbone.chat);
}

Json ReadDataManifest(const Run& run) {
  if (!fs::exists(run.paths.ledger())) {
    throw Error(ErrorKind::kNotFound, fmt::format("{} has no data yet; run `elrea data prepare --run {}`",
                                                  run.paths.root.string(), run.paths.root.string()));
  }
  return ReadVersionedJson(run.paths.ledger());
}

// Clustering would say so too, but only after the base adapter is trained.
void CheckEnoughRows(const RunData& data, int64_t num_clusters) {
  const auto num_rows = static_cast<int64_t>(data.train.rows.size());
  if (num_rows >= num_clusters) return;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{} usable rows are fewer than the {} clusters asked for; give more rows, or lower "
                          "cluster.birch.num_clusters",
                          num_rows, num_clusters));
}

}  // namespace

RunData LoadRunData(const Run& run) {
  const Json manifest = ReadDataManifest(run);
  return {LoadSplit(run, manifest, "train"), LoadSplit(run, manifest, "validation")};
}

RunData PrepareData(const Run& run) {
  return WithContext("data stage", [&] {
    if (!fs::exists(run.paths.ledger())) MakeData(run);
    RunData data = LoadRunData(run);
    CheckEnoughRows(data, run.config.cluster.birch.num_clusters);
    LogInfo("data", "rows={} validation_rows={} sources={}", data.train.rows.size(),
            data.validation.rows.size(), data.train.sources.size());
    return data;
  });
}

std::vector<EvalRow> LoadTestRows(const Run& run) {
  if (!CheckSplit(run, ReadDataManifest(run), "test")) return {};
  return LoadEvalRows({run.paths.rows("test").string()}, run.config.eval, *run.backbone.chat);
}

}  // namespace elrea
