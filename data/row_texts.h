// Rows of a JSONL file by number, read when they are asked for: 8 bytes of memory a row.
#pragma once

#include <cstdint>
#include <vector>

#include "core/files.h"
#include "data/records.h"

namespace elrea {

// Const-shareable.
class RowTexts {
 public:
  // A file of the lines of RowLine. kNotFound, kIo.
  explicit RowTexts(const fs::path& path);

  int64_t num_rows() const { return static_cast<int64_t>(begins_.size()); }
  // kCorrupt naming file and line when it is no usable row. REQUIRES: row < num_rows().
  ExampleRecord Record(int64_t row) const;

 private:
  MappedFile file_;
  std::vector<uint64_t> begins_;  // of the lines
};

}  // namespace elrea
