// Rows of Parquet files, through Arrow's own reader.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/json.h"

namespace elrea {

struct ParquetSinks {
  // Given the file's top-level columns, those to read; may throw. The others are not touched, whatever they
  // hold.
  std::function<std::vector<std::string>(const std::vector<std::string>& columns)> choose;
  std::function<void(int64_t number, Json row)> row;                  // {column: value}
  std::function<void(int64_t number, const std::string& why)> fault;  // a row that is none
  std::function<void(int64_t bytes)> position = {};  // told after each row group how much of the file was read
};

// Calls a sink for every row, numbered from 1. Lists become arrays, structs objects, maps objects of their
// keys. Pages are read one after the other, so memory does not grow with the file, only with its largest
// page. Returns the number of rows. kNotFound; kInvalidInput naming the column where a chosen one is of a
// type that JSON has not (times, decimals), and for a page over 1 GiB; kCorrupt for a damaged file;
// kUnavailable in a build without Arrow.
int64_t ForEachParquetRow(const fs::path& path, const ParquetSinks& sinks);

}  // namespace elrea
