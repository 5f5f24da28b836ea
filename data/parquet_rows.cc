// Arrow hands over batches of columns; each value is turned into JSON where its row comes up. What Arrow
// reports or throws becomes an Error here, so that no other file knows of it.
#include "data/parquet_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

#ifdef ELREA_PARQUET

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/util/float16.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

#include <cmath>

#include "core/text.h"

namespace elrea {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 30;  // of what one batch and its pages may take
constexpr int64_t kBatchRows = 64;
constexpr int64_t kStreamBytes = int64_t{1} << 20;  // read at a time of each column

[[noreturn]] void ThrowStatus(const fs::path& path, const arrow::Status& status) {
  if (status.IsOutOfMemory()) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("{}: its pages take more than {} bytes of memory; write it again in smaller row groups",
                    path.string(), kMaxBytes));
  }
  if (status.IsNotImplemented()) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: {}; write it as JSON Lines", path.string(), status.message()));
  }
  throw Error(ErrorKind::kCorrupt, fmt::format("{}: {}; the file is damaged or is not Parquet, get it again",
                                               path.string(), status.message()));
}

// Runs a call of Arrow's, which reports by Result and, below, by exceptions.
template <typename Call>
auto Checked(const fs::path& path, Call call) {
  decltype(call()) result = arrow::Status::UnknownError("not run");
  try {
    result = call();
  } catch (const parquet::ParquetStatusException& error) {
    result = error.status();
  } catch (const std::exception& error) {
    result = arrow::Status::IOError(error.what());
  }
  if (!result.ok()) ThrowStatus(path, result.status());
  return std::move(result).ValueUnsafe();
}

// Why a row is none, on its way to the loop over rows.
struct Fault {
  std::string why;
};

bool IsList(const arrow::DataType& type) {
  return type.id() == arrow::Type::LIST || type.id() == arrow::Type::LARGE_LIST ||
         type.id() == arrow::Type::FIXED_SIZE_LIST;
}

bool IsText(arrow::Type::type id) {
  return id == arrow::Type::STRING || id == arrow::Type::LARGE_STRING || id == arrow::Type::BINARY ||
         id == arrow::Type::LARGE_BINARY;
}

bool IsScalar(arrow::Type::type id) {
  return IsText(id) || arrow::is_integer(id) || arrow::is_floating(id) || id == arrow::Type::BOOL ||
         id == arrow::Type::NA;
}

void CheckType(const arrow::DataType& type, const std::string& column, const fs::path& path, int depth = 0) {
  constexpr int kMaxDepth = 32;
  const arrow::Type::type id = type.id();
  if (depth < kMaxDepth) {
    if (IsScalar(id)) return;
    if (id == arrow::Type::DICTIONARY) {
      return CheckType(*static_cast<const arrow::DictionaryType&>(type).value_type(), column, path,
                       depth + 1);
    }
    if (IsList(type) || id == arrow::Type::STRUCT ||
        (id == arrow::Type::MAP && IsText(static_cast<const arrow::MapType&>(type).key_type()->id()))) {
      for (const auto& field : type.fields()) CheckType(*field->type(), column, path, depth + 1);
      return;
    }
  }
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format(
          "{}: the column \"{}\" holds {}, which rows cannot; write it as text or as lists and structs "
          "of text",
          path.string(), column, type.ToString().substr(0, 200)));
}

Json ValueAt(const arrow::Array& array, int64_t i, const std::string& column);

Json ListAt(const arrow::Array& values, int64_t begin, int64_t count, const std::string& column) {
  Json list = Json::array();
  for (int64_t k = 0; k < count; ++k) list.push_back(ValueAt(values, begin + k, column));
  return list;
}

Json StructAt(const arrow::StructArray& array, int64_t i, const std::string& column) {
  Json object = Json::object();
  for (int f = 0; f < array.num_fields(); ++f)
    object[array.struct_type()->field(f)->name()] = ValueAt(*array.field(f), i, column);
  return object;
}

Json MapAt(const arrow::MapArray& array, int64_t i, const std::string& column) {
  Json object = Json::object();
  for (int64_t k = array.value_offset(i); k < array.value_offset(i + 1); ++k)
    object[ValueAt(*array.keys(), k, column).get<std::string>()] = ValueAt(*array.items(), k, column);
  return object;
}

Json TextOf(std::string_view text, const std::string& column) {
  if (!IsValidUtf8(text)) throw Fault{fmt::format("the column \"{}\" is not valid UTF-8", column)};
  return std::string(text);
}

Json NumberOf(double value, const std::string& column) {
  if (!std::isfinite(value)) throw Fault{fmt::format("the column \"{}\" holds {}", column, value)};
  return value;
}

// REQUIRES: a type that CheckType let pass.
Json ValueAt(const arrow::Array& array, int64_t i, const std::string& column) {
  if (array.IsNull(i)) return nullptr;
  const auto at = [&](auto* typed) { return typed->Value(i); };
#define ELREA_AT(TYPE) at(static_cast<const arrow::TYPE##Array*>(&array))
  switch (array.type_id()) {
    case arrow::Type::BOOL:
      return ELREA_AT(Boolean);
    case arrow::Type::INT8:
      return ELREA_AT(Int8);
    case arrow::Type::INT16:
      return ELREA_AT(Int16);
    case arrow::Type::INT32:
      return ELREA_AT(Int32);
    case arrow::Type::INT64:
      return ELREA_AT(Int64);
    case arrow::Type::UINT8:
      return ELREA_AT(UInt8);
    case arrow::Type::UINT16:
      return ELREA_AT(UInt16);
    case arrow::Type::UINT32:
      return ELREA_AT(UInt32);
    case arrow::Type::UINT64:
      return ELREA_AT(UInt64);
    case arrow::Type::HALF_FLOAT:
      return NumberOf(arrow::util::Float16::FromBits(ELREA_AT(HalfFloat)).ToDouble(), column);
    case arrow::Type::FLOAT:
      return NumberOf(ELREA_AT(Float), column);
    case arrow::Type::DOUBLE:
      return NumberOf(ELREA_AT(Double), column);
#undef ELREA_AT
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return TextOf(static_cast<const arrow::BinaryArray&>(array).GetView(i), column);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return TextOf(static_cast<const arrow::LargeBinaryArray&>(array).GetView(i), column);
    case arrow::Type::DICTIONARY: {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
      return ValueAt(*coded.dictionary(), coded.GetValueIndex(i), column);
    }
    case arrow::Type::LIST: {
      const auto& list = static_cast<const arrow::ListArray&>(array);
      return ListAt(*list.values(), list.value_offset(i), list.value_length(i), column);
    }
    case arrow::Type::LARGE_LIST: {
      const auto& list = static_cast<const arrow::LargeListArray&>(array);
      return ListAt(*list.values(), list.value_offset(i), list.value_length(i), column);
    }
    case arrow::Type::FIXED_SIZE_LIST: {
      const auto& list = static_cast<const arrow::FixedSizeListArray&>(array);
      return ListAt(*list.values(), list.value_offset(i), list.value_length(i), column);
    }
    case arrow::Type::MAP:
      return MapAt(static_cast<const arrow::MapArray&>(array), i, column);
    case arrow::Type::STRUCT:
      return StructAt(static_cast<const arrow::StructArray&>(array), i, column);
    default:
      throw Error(ErrorKind::kInternal, "a column of type " + array.type()->ToString());
  }
}

std::unique_ptr<parquet::arrow::FileReader> OpenReader(const fs::path& path, arrow::MemoryPool& pool) {
  parquet::ReaderProperties reading(&pool);
  reading.enable_buffered_stream();  // a column is read piece by piece
  reading.set_buffer_size(kStreamBytes);
  parquet::ArrowReaderProperties arrow_reading(/*use_threads=*/false);
  arrow_reading.set_batch_size(kBatchRows);
  arrow_reading.set_pre_buffer(false);  // would hold whole row groups
  return Checked(path, [&]() -> arrow::Result<std::unique_ptr<parquet::arrow::FileReader>> {
    parquet::arrow::FileReaderBuilder builder;
    ARROW_ASSIGN_OR_RAISE(auto file, arrow::io::ReadableFile::Open(path.string(), &pool));
    ARROW_RETURN_NOT_OK(builder.Open(std::move(file), reading));
    std::unique_ptr<parquet::arrow::FileReader> reader;
    ARROW_RETURN_NOT_OK(builder.memory_pool(&pool)->properties(arrow_reading)->Build(&reader));
    return reader;
  });
}

// Indices of the leaf columns of the chosen top-level ones, whose types are checked.
std::vector<int> ChooseLeaves(const fs::path& path, parquet::arrow::FileReader& reader,
                              const ParquetSinks& sinks) {
  const auto schema = Checked(path, [&]() -> arrow::Result<std::shared_ptr<arrow::Schema>> {
    std::shared_ptr<arrow::Schema> read;
    ARROW_RETURN_NOT_OK(reader.GetSchema(&read));
    return read;
  });
  const std::vector<std::string> chosen = sinks.choose(schema->field_names());
  for (const auto& field : schema->fields()) {
    if (std::find(chosen.begin(), chosen.end(), field->name()) != chosen.end())
      CheckType(*field->type(), field->name(), path);
  }
  const parquet::SchemaDescriptor& leaves = *reader.parquet_reader()->metadata()->schema();
  std::vector<int> indices;
  for (int leaf = 0; leaf < leaves.num_columns(); ++leaf) {
    if (std::find(chosen.begin(), chosen.end(), leaves.GetColumnRoot(leaf)->name()) != chosen.end())
      indices.push_back(leaf);
  }
  return indices;
}

void EmitRows(const arrow::RecordBatch& batch, int64_t first_number, const ParquetSinks& sinks) {
  for (int64_t i = 0; i < batch.num_rows(); ++i) {
    Json row = Json::object();
    try {
      for (int c = 0; c < batch.num_columns(); ++c)
        row[batch.column_name(c)] = ValueAt(*batch.column(c), i, batch.column_name(c));
    } catch (const Fault& fault) {
      sinks.fault(first_number + i, fault.why);
      continue;
    }
    sinks.row(first_number + i, std::move(row));
  }
}

}  // namespace

int64_t ForEachParquetRow(const fs::path& path, const ParquetSinks& sinks) {
  const auto num_bytes = static_cast<int64_t>(MappedFile(path).bytes().size());  // says what is wrong with a path
  arrow::CappedMemoryPool pool(arrow::system_memory_pool(), kMaxBytes);
  const auto reader = OpenReader(path, pool);
  const std::vector<int> leaves = ChooseLeaves(path, *reader, sinks);
  int64_t num_rows = 0;
  for (int group = 0; group < reader->num_row_groups(); ++group) {
    const auto batches = Checked(path, [&] { return reader->GetRecordBatchReader({group}, leaves); });
    while (const auto batch = Checked(path, [&]() -> arrow::Result<std::shared_ptr<arrow::RecordBatch>> {
             ARROW_ASSIGN_OR_RAISE(auto next, batches->Next());
             if (next != nullptr) ARROW_RETURN_NOT_OK(next->Validate());
             return next;
           })) {
      EmitRows(*batch, num_rows + 1, sinks);
      num_rows += batch->num_rows();
    }
    if (sinks.position) sinks.position(num_bytes / reader->num_row_groups() * (group + 1));
  }
  return num_rows;
}

}  // namespace elrea

#else

namespace elrea {

int64_t ForEachParquetRow(const fs::path& path, const ParquetSinks&) {
  throw Error(
      ErrorKind::kUnavailable,
      path.string() +
          ": this elrea was built without Parquet (ELREA_PARQUET); write the file as JSON Lines or CSV, with "
          "pandas: read_parquet(FILE).to_json(OUT, orient=\"records\", lines=True)");
}

}  // namespace elrea

#endif
