// Rows of data files as JSON objects in text form, whatever the file is: JSON Lines, CSV or TSV with a
// header, each plain, gzip or zstd, or Parquet. One row at a time, so a file may be larger than the memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/files.h"

namespace elrea {

// Which column plays which part: {"instruction", "question"} lets "question" count as "instruction".
using ColumnMap = std::vector<std::pair<std::string, std::string>>;

// From "instruction=question" and so on. kInvalidInput, naming the entry, for one without "=", with an empty
// side, with a part that rows do not have (the known ones are listed), or for a part given twice.
ColumnMap ParseColumns(const std::vector<std::string>& entries);

struct RowSinks {
  std::function<void(int64_t number, std::string_view json)> row;
  std::function<void(int64_t number, const std::string& why)> fault;  // a row that is none
  std::function<void(int64_t bytes)> position = {};  // told now and then how much of the file was read
};

// Calls one of the sinks for every row that is not blank, with the line it begins on (1-based; the header of
// CSV is line 1, and no row). Returns the number of rows. ".csv" and ".tsv", also before ".gz" or ".zst", are
// read by RFC 4180 (quotes, doubled inside them, line breaks within; a line break of "\r\n" becomes "\n"),
// ".parquet" by its columns that a row has (RowKeys() of records.h, and `columns`), with the row's number as its
// line, everything else as JSON Lines, which are handed on as they are where `columns` is empty. kNotFound;
// kInvalidInput for CSV or Parquet that lacks a column of `columns` or has a column twice, and as of
// ForEachParquetRow; kCorrupt for damaged files.
int64_t ForEachDataRow(const fs::path& path, const ColumnMap& columns, const RowSinks& sinks);

// The file's name without its endings: "rows" for "dir/rows.csv.gz".
std::string DataFileStem(const fs::path& path);

}  // namespace elrea
