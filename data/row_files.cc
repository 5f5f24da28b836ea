#include "data/row_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "core/line_position.h"
#include "core/text.h"
#include "data/parquet_rows.h"
#include "data/records.h"

namespace elrea {
namespace {

const std::vector<std::string>& Parts() {
  static const std::vector<std::string> parts = {"instruction", "input",  "output",
                                                 "answer",      "source", "messages"};
  return parts;
}

fs::path WithoutCompression(const fs::path& path) {
  const std::string ending = path.extension().string();
  return ending == ".gz" || ending == ".zst" ? path.stem() : path.filename();
}

// One record of CSV from one or several lines.
class CsvReader {
 public:
  explicit CsvReader(char delimiter) : delimiter_(delimiter) {}

  // True when `line` ends a record, which is then in fields(). REQUIRES: the line without its end.
  bool Push(std::string_view line) {
    if (in_quotes_) {
      fields_.back() += '\n';
    } else {
      fields_.assign(1, "");
      fault_.clear();
    }
    for (size_t i = 0; i < line.size(); ++i) {
      const char c = line[i];
      if (in_quotes_) {
        if (c != '"') {
          fields_.back() += c;
        } else if (i + 1 < line.size() && line[i + 1] == '"') {
          fields_.back() += line[++i];
        } else {
          in_quotes_ = false;
          after_quotes_ = true;
        }
      } else if (c == delimiter_) {
        fields_.emplace_back();
        after_quotes_ = false;
      } else if (c == '"' && fields_.back().empty() && !after_quotes_) {
        in_quotes_ = true;
      } else {
        if (after_quotes_) fault_ = "text behind a closing quote";
        fields_.back() += c;
      }
    }
    if (!in_quotes_) after_quotes_ = false;
    return !in_quotes_;
  }

  bool in_quotes() const { return in_quotes_; }
  const std::vector<std::string>& fields() const { return fields_; }
  const std::string& fault() const { return fault_; }
  size_t num_bytes() const {
    size_t total = 0;
    for (const std::string& field : fields_) total += field.size();
    return total;
  }

 private:
  char delimiter_;
  bool in_quotes_ = false, after_quotes_ = false;
  std::vector<std::string> fields_;
  std::string fault_;
};

// The part a column plays, or its own name.
std::string PartOf(const std::string& column, const ColumnMap& columns) {
  for (const auto& [part, named] : columns) {
    if (column == named) return part;
  }
  return column;
}

[[noreturn]] void ThrowColumnTwice(const fs::path& path, const std::string& name) {
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: the column \"{}\" is there twice; name every column once", path.string(), name));
}

[[noreturn]] void ThrowNoColumn(const fs::path& path, const std::string& name, const std::vector<std::string>& names) {
  throw Error(ErrorKind::kInvalidInput, fmt::format("{}: no column \"{}\" among its columns ({}); see data.columns",
                                                    path.string(), name, Join(names, ", ")));
}

std::vector<std::string> HeaderOf(const std::vector<std::string>& fields, const ColumnMap& columns,
                                  const fs::path& path) {
  std::vector<std::string> header;
  for (const std::string& field : fields) {
    const std::string name = PartOf(ReplaceInvalidUtf8(Trim(field)), columns);
    if (!name.empty() && std::find(header.begin(), header.end(), name) != header.end()) {
      ThrowColumnTwice(path, name);
    }
    header.push_back(name);
  }
  for (const auto& [part, named] : columns) {
    if (std::find(header.begin(), header.end(), part) != header.end()) continue;
    ThrowNoColumn(path, named, header);
  }
  return header;
}

// Bounds what an unclosed quote may gather.
constexpr size_t kMaxRecordBytes = size_t{1} << 26;

int64_t ForEachCsvRow(const fs::path& path, char delimiter, const ColumnMap& columns, const RowSinks& sinks) {
  CsvReader reader(delimiter);
  std::vector<std::string> header;
  int64_t num_rows = 0, begin = 0;
  const auto finish = [&] {
    const auto& fields = reader.fields();
    if (header.empty()) {
      header = HeaderOf(fields, columns, path);
      return;
    }
    ++num_rows;
    if (!reader.fault().empty()) return sinks.fault(begin, reader.fault());
    if (fields.size() != header.size()) {
      return sinks.fault(begin, fmt::format("{} fields, the header has {}", fields.size(), header.size()));
    }
    Json row = Json::object();
    for (size_t i = 0; i < fields.size(); ++i) {
      if (!IsValidUtf8(fields[i])) return sinks.fault(begin, "not valid UTF-8");
      if (!header[i].empty()) row[header[i]] = fields[i];
    }
    sinks.row(begin, JsonLine(row));
  };
  ForEachLineWithPosition(path, [&](int64_t number, std::string_view text) {
    if (!reader.in_quotes()) {
      if (number == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
      if (Trim(text).empty()) return;
      begin = number;
    }
    const bool ended = reader.Push(text);
    if (reader.num_bytes() > kMaxRecordBytes) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("{}: the row that begins on line {} has no end; is a quote not closed?",
                              path.string(), begin));
    }
    if (ended) finish();
  }, sinks.position ? sinks.position : [](int64_t) {});
  if (reader.in_quotes()) {
    ++num_rows;
    sinks.fault(begin, "a quote is not closed");
  }
  return num_rows;
}

// A row with its keys renamed. A part that a column plays hides a key of the part's own name.
Json WithPartNames(const Json& row, const ColumnMap& columns) {
  Json renamed = Json::object();
  for (const auto& [key, value] : row.items()) {
    const bool hidden =
        PartOf(key, columns) == key && std::any_of(columns.begin(), columns.end(), [&](const auto& entry) {
          return entry.first == key && row.contains(entry.second);
        });
    if (!hidden) renamed[PartOf(key, columns)] = value;
  }
  return renamed;
}

// A line with its keys renamed, or why it is none.
void RenameKeys(int64_t number, std::string_view text, const ColumnMap& columns, const RowSinks& sinks) {
  Json line;
  try {
    line = ParseJson(text, "row");
  } catch (const Error& error) {
    return sinks.fault(number, error.message());
  }
  if (!line.is_object())
    return sinks.fault(number, std::string("a JSON ") + line.type_name() + ", expected an object");
  sinks.row(number, JsonLine(WithPartNames(line, columns)));
}

// Of a Parquet file's columns those that rows are made of.
std::vector<std::string> ChooseColumns(const fs::path& path, const std::vector<std::string>& names,
                                       const ColumnMap& columns) {
  const auto in = [](const std::vector<std::string>& list, const std::string& name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  for (const auto& [part, named] : columns) {
    if (!in(names, named)) ThrowNoColumn(path, named, names);
  }
  std::vector<std::string> chosen;
  for (const std::string& name : names) {
    if (!in(RowKeys(), PartOf(name, columns))) continue;
    if (in(chosen, name)) ThrowColumnTwice(path, name);
    chosen.push_back(name);
  }
  if (chosen.empty()) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: none of its columns ({}) is a part of a row; name them with data.columns",
                            path.string(), Join(names, ", ")));
  }
  return chosen;
}

int64_t ForEachParquetRow(const fs::path& path, const ColumnMap& columns, const RowSinks& sinks) {
  ParquetSinks parquet;
  parquet.choose = [&](const std::vector<std::string>& names) { return ChooseColumns(path, names, columns); };
  parquet.row = [&](int64_t number, const Json& row) { sinks.row(number, JsonLine(WithPartNames(row, columns))); };
  parquet.fault = sinks.fault;
  parquet.position = sinks.position;
  return ForEachParquetRow(path, parquet);
}

}  // namespace

ColumnMap ParseColumns(const std::vector<std::string>& entries) {
  ColumnMap columns;
  for (const std::string& entry : entries) {
    const size_t equals = entry.find('=');
    const std::string part = Trim(entry.substr(0, equals));
    const std::string column = equals == entry.npos ? "" : Trim(entry.substr(equals + 1));
    const bool known = std::find(Parts().begin(), Parts().end(), part) != Parts().end();
    const bool twice =
        std::any_of(columns.begin(), columns.end(), [&](const auto& c) { return c.first == part; });
    if (!known || column.empty() || twice) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("data.columns: \"{}\"{}; write PART=COLUMN with each PART once, one of {}",
                              entry, twice ? " names a part for the second time" : "", Join(Parts(), ", ")));
    }
    columns.emplace_back(part, column);
  }
  return columns;
}

int64_t ForEachDataRow(const fs::path& path, const ColumnMap& columns, const RowSinks& sinks) {
  const std::string ending = WithoutCompression(path).extension().string();
  if (ending == ".csv" || ending == ".tsv")
    return ForEachCsvRow(path, ending == ".csv" ? ',' : '\t', columns, sinks);
  if (ending == ".parquet") return ForEachParquetRow(path, columns, sinks);
  return ForEachRow(path, [&](int64_t number, std::string_view text) {
    if (columns.empty()) {
      sinks.row(number, text);
    } else {
      RenameKeys(number, text, columns, sinks);
    }
  }, sinks.position);
}

std::string DataFileStem(const fs::path& path) { return WithoutCompression(path).stem().string(); }

}  // namespace elrea
