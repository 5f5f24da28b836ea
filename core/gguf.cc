// A bounds-checked cursor over the mapped file. No count or length is believed before it is compared with the
// bytes that remain, so a hostile file of n bytes costs O(n) memory.
#include "core/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"

namespace elrea {
namespace {

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxDims = 4;
// Smallest encodings, to bound counts: a key is 8 + 4 + 1 bytes, a tensor entry 8 + 4 + 4 + 8.
constexpr uint64_t kMinPairBytes = 13;
constexpr uint64_t kMinTensorBytes = 24;

enum class ValueType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

struct TypeInfo {
  GgmlType type;
  const char* name;
  int64_t block_elements;
  int64_t block_bytes;
};
// Block layouts as in ggml's ggml-common.h: scales first, then packed quants.
constexpr TypeInfo kTypes[] = {
    {GgmlType::kF32, "F32", 1, 4},
    {GgmlType::kF16, "F16", 1, 2},
    {GgmlType::kBF16, "BF16", 1, 2},
    {GgmlType::kQ4_0, "Q4_0", 32, 2 + 16},
    {GgmlType::kQ4_1, "Q4_1", 32, 4 + 16},
    {GgmlType::kQ5_0, "Q5_0", 32, 2 + 4 + 16},
    {GgmlType::kQ5_1, "Q5_1", 32, 4 + 4 + 16},
    {GgmlType::kQ8_0, "Q8_0", 32, 2 + 32},
    {GgmlType::kQ4_K, "Q4_K", 256, 4 + 12 + 128},
    {GgmlType::kQ5_K, "Q5_K", 256, 4 + 12 + 32 + 128},
    {GgmlType::kQ6_K, "Q6_K", 256, 128 + 64 + 16 + 2},
};

const TypeInfo* FindType(uint32_t type) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeInfo& info) {
    return static_cast<uint32_t>(info.type) == type;
  });
  return found == std::end(kTypes) ? nullptr : found;
}

const TypeInfo& Info(GgmlType type) {
  const TypeInfo* info = FindType(static_cast<uint32_t>(type));
  if (info == nullptr) {
    throw Error(ErrorKind::kInternal, "not a GgmlType");
  }
  return *info;
}

// Reads the header part front to back; `what` in errors is the item being read.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const fs::path& path) : bytes_(bytes), path_(path) {}

  [[noreturn]] void ThrowCorrupt(const std::string& fault) const {
    throw Error(ErrorKind::kCorrupt, fmt::format("{}: {}; the file is damaged or incomplete, get it again",
                                                 path_.string(), fault));
  }
  [[noreturn]] void ThrowUnsupported(const std::string& fault) const {
    throw Error(ErrorKind::kInvalidInput, fmt::format("{}: {}", path_.string(), fault));
  }

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  template <typename T>
  T Read(const std::string& what) {
    Require(sizeof(T), what);
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  std::string_view ReadString(const std::string& what) {
    const auto length = Read<uint64_t>(what);
    Require(length, what);
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
    position_ += length;
    return text;
  }

  // A count of items of at least `min_bytes` each.
  uint64_t ReadCount(uint64_t min_bytes, const std::string& what) {
    const auto count = Read<uint64_t>(what);
    if (count > remaining() / min_bytes) {
      ThrowCorrupt(fmt::format("{} says {} items, more than the file can hold", what, count));
    }
    return count;
  }

 private:
  void Require(uint64_t num_bytes, const std::string& what) const {
    if (num_bytes > remaining()) {
      ThrowCorrupt(fmt::format("{} needs {} bytes where {} remain", what, num_bytes, remaining()));
    }
  }

  std::span<const std::byte> bytes_;
  const fs::path& path_;
  uint64_t position_ = 0;
};

bool ReadBool(Cursor& cursor, const std::string& what) {
  const auto byte = cursor.Read<uint8_t>(what);
  if (byte > 1) {
    cursor.ThrowCorrupt(fmt::format("{} is {}, not a truth value", what, byte));
  }
  return byte == 1;
}

template <typename T>
std::vector<int64_t> ReadIntArray(Cursor& cursor, const std::string& what) {
  std::vector<int64_t> values(cursor.ReadCount(sizeof(T), what));
  for (int64_t& value : values) {
    const T number = cursor.Read<T>(what);
    if (!std::in_range<int64_t>(number)) {
      cursor.ThrowCorrupt(fmt::format("{} holds {}, beyond 63 bits", what, number));
    }
    value = static_cast<int64_t>(number);
  }
  return values;
}

template <typename T>
std::vector<double> ReadFloatArray(Cursor& cursor, const std::string& what) {
  std::vector<double> values(cursor.ReadCount(sizeof(T), what));
  for (double& value : values) {
    value = cursor.Read<T>(what);
  }
  return values;
}

std::vector<int64_t> ReadBoolArray(Cursor& cursor, const std::string& what) {
  std::vector<int64_t> values(cursor.ReadCount(1, what));
  for (int64_t& value : values) {
    value = ReadBool(cursor, what) ? 1 : 0;
  }
  return values;
}

std::vector<std::string_view> ReadStringArray(Cursor& cursor, const std::string& what) {
  std::vector<std::string_view> values(cursor.ReadCount(sizeof(uint64_t), what));
  for (std::string_view& value : values) {
    value = cursor.ReadString(what);
  }
  return values;
}

GgufValue ReadArray(Cursor& cursor, const std::string& what) {
  const auto item_type = cursor.Read<uint32_t>(what);
  switch (static_cast<ValueType>(item_type)) {
    case ValueType::kU8:
      return ReadIntArray<uint8_t>(cursor, what);
    case ValueType::kI8:
      return ReadIntArray<int8_t>(cursor, what);
    case ValueType::kU16:
      return ReadIntArray<uint16_t>(cursor, what);
    case ValueType::kI16:
      return ReadIntArray<int16_t>(cursor, what);
    case ValueType::kU32:
      return ReadIntArray<uint32_t>(cursor, what);
    case ValueType::kI32:
      return ReadIntArray<int32_t>(cursor, what);
    case ValueType::kU64:
      return ReadIntArray<uint64_t>(cursor, what);
    case ValueType::kI64:
      return ReadIntArray<int64_t>(cursor, what);
    case ValueType::kF32:
      return ReadFloatArray<float>(cursor, what);
    case ValueType::kF64:
      return ReadFloatArray<double>(cursor, what);
    case ValueType::kBool:
      return ReadBoolArray(cursor, what);
    case ValueType::kString:
      return ReadStringArray(cursor, what);
    case ValueType::kArray:
      cursor.ThrowUnsupported(what + " is an array of arrays, which elrea does not read");
  }
  cursor.ThrowCorrupt(fmt::format("{} has items of the unknown type {}", what, item_type));
}

GgufValue ReadValue(Cursor& cursor, const std::string& what) {
  const auto type = cursor.Read<uint32_t>(what);
  switch (static_cast<ValueType>(type)) {
    case ValueType::kU8:
      return int64_t{cursor.Read<uint8_t>(what)};
    case ValueType::kI8:
      return int64_t{cursor.Read<int8_t>(what)};
    case ValueType::kU16:
      return int64_t{cursor.Read<uint16_t>(what)};
    case ValueType::kI16:
      return int64_t{cursor.Read<int16_t>(what)};
    case ValueType::kU32:
      return int64_t{cursor.Read<uint32_t>(what)};
    case ValueType::kI32:
      return int64_t{cursor.Read<int32_t>(what)};
    case ValueType::kU64:
      return cursor.Read<uint64_t>(what);
    case ValueType::kI64:
      return cursor.Read<int64_t>(what);
    case ValueType::kF32:
      return double{cursor.Read<float>(what)};
    case ValueType::kF64:
      return cursor.Read<double>(what);
    case ValueType::kBool:
      return ReadBool(cursor, what);
    case ValueType::kString:
      return cursor.ReadString(what);
    case ValueType::kArray:
      return ReadArray(cursor, what);
  }
  cursor.ThrowCorrupt(fmt::format("{} has the unknown type {}", what, type));
}

struct TensorEntry {
  std::string name;
  GgmlType type;
  std::vector<int64_t> shape;
  uint64_t offset;  // from the start of the data section
  uint64_t num_bytes;
};

std::vector<int64_t> ReadShape(Cursor& cursor, const std::string& what) {
  const auto num_dims = cursor.Read<uint32_t>(what);
  if (num_dims > kMaxDims) {
    cursor.ThrowCorrupt(fmt::format("{} has {} dimensions, more than {}", what, num_dims, kMaxDims));
  }
  std::vector<int64_t> shape(num_dims);
  for (int64_t& dim : shape) {
    const auto stored = cursor.Read<uint64_t>(what);
    if (!std::in_range<int64_t>(stored)) {
      cursor.ThrowCorrupt(fmt::format("{} has the dimension {}", what, stored));
    }
    dim = static_cast<int64_t>(stored);
  }
  std::reverse(shape.begin(), shape.end());
  return shape;
}

TensorEntry ReadTensorEntry(Cursor& cursor, uint64_t index) {
  TensorEntry entry;
  entry.name = cursor.ReadString(fmt::format("the name of tensor {}", index));
  const std::string what = "tensor \"" + entry.name + "\"";
  entry.shape = ReadShape(cursor, what);
  const auto type_number = cursor.Read<uint32_t>(what);
  const TypeInfo* info = FindType(type_number);
  if (info == nullptr) {
    std::vector<std::string> names;
    for (const TypeInfo& known : kTypes) names.emplace_back(known.name);
    cursor.ThrowUnsupported(fmt::format("{} is of {}, which elrea does not read; use a file of {}", what,
                                        GgmlTypeName(type_number), fmt::join(names, ", ")));
  }
  entry.type = info->type;
  entry.offset = cursor.Read<uint64_t>(what);
  uint64_t num_elements = 1;
  for (int64_t dim : entry.shape) {
    if (__builtin_mul_overflow(num_elements, static_cast<uint64_t>(dim), &num_elements)) {
      cursor.ThrowCorrupt(fmt::format("{} of shape [{}] overflows", what, fmt::join(entry.shape, ", ")));
    }
  }
  const int64_t innermost = entry.shape.empty() ? 1 : entry.shape.back();
  if (innermost % info->block_elements != 0) {
    cursor.ThrowCorrupt(fmt::format("{} has rows of {} elements, no multiple of the {} of a {} block", what,
                                    innermost, info->block_elements, info->name));
  }
  const uint64_t num_blocks = num_elements / static_cast<uint64_t>(info->block_elements);
  if (__builtin_mul_overflow(num_blocks, static_cast<uint64_t>(info->block_bytes), &entry.num_bytes)) {
    cursor.ThrowCorrupt(fmt::format("{} of shape [{}] overflows", what, fmt::join(entry.shape, ", ")));
  }
  return entry;
}

void CheckVersion(Cursor& cursor) {
  constexpr uint32_t kMagic = 0x46554747;  // "GGUF", little-endian
  if (cursor.remaining() < 4 || cursor.Read<uint32_t>("magic") != kMagic) {
    cursor.ThrowCorrupt("does not begin with the letters GGUF");
  }
  const auto version = cursor.Read<uint32_t>("version");
  if (version == 2 || version == 3) {
    return;
  }
  if ((version & 0xFFFF) == 0) {
    cursor.ThrowUnsupported("a big-endian GGUF file; convert it to little-endian");
  }
  cursor.ThrowUnsupported(
      fmt::format("GGUF version {}; only 2 and 3 are read, convert the model again", version));
}

void CheckOverlap(std::vector<TensorEntry> entries, const Cursor& cursor) {
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.num_bytes < b.num_bytes;
  });
  for (size_t i = 1; i < entries.size(); ++i) {
    if (entries[i - 1].offset + entries[i - 1].num_bytes > entries[i].offset) {
      cursor.ThrowCorrupt(
          fmt::format("tensors \"{}\" and \"{}\" overlap", entries[i - 1].name, entries[i].name));
    }
  }
}

}  // namespace

std::string GgmlTypeName(uint32_t type) {
  const TypeInfo* info = FindType(type);
  return info != nullptr ? info->name : fmt::format("type {}", type);
}

int64_t GgmlBlockElements(GgmlType type) { return Info(type).block_elements; }
int64_t GgmlBlockBytes(GgmlType type) { return Info(type).block_bytes; }

GgufFile::GgufFile(const fs::path& path) : file_(path) {
  Cursor cursor(file_.bytes(), file_.path());
  CheckVersion(cursor);
  const uint64_t num_tensors = cursor.ReadCount(kMinTensorBytes, "the tensor count");
  const uint64_t num_pairs = cursor.ReadCount(kMinPairBytes, "the metadata count");
  for (uint64_t i = 0; i < num_pairs; ++i) {
    const std::string key(cursor.ReadString(fmt::format("metadata key {}", i)));
    const uint64_t begin = cursor.position();
    if (!metadata_.emplace(key, ReadValue(cursor, "\"" + key + "\"")).second) {
      cursor.ThrowCorrupt("the metadata key \"" + key + "\" appears twice");
    }
    encoded_[key] = file_.bytes().subspan(begin, cursor.position() - begin);
  }
  const uint64_t alignment =
      Contains("general.alignment") ? static_cast<uint64_t>(GetInt("general.alignment")) : kDefaultAlignment;
  if (!std::has_single_bit(alignment) || alignment > (uint64_t{1} << 31)) {
    cursor.ThrowCorrupt(fmt::format("\"general.alignment\" is {}, not a power of two", alignment));
  }

  std::vector<TensorEntry> entries;
  for (uint64_t i = 0; i < num_tensors; ++i) {
    entries.push_back(ReadTensorEntry(cursor, i));
  }
  const uint64_t data_start = (cursor.position() + alignment - 1) / alignment * alignment;
  const auto data = file_.bytes().subspan(std::min<uint64_t>(data_start, file_.bytes().size()));
  for (const TensorEntry& entry : entries) {
    if (entry.offset % alignment != 0) {
      cursor.ThrowCorrupt(fmt::format("tensor \"{}\" is not aligned to {} bytes", entry.name, alignment));
    }
    if (entry.offset > data.size() || entry.num_bytes > data.size() - entry.offset) {
      cursor.ThrowCorrupt(fmt::format("tensor \"{}\" has {} bytes at {}, past the {} data bytes of the file",
                                      entry.name, entry.num_bytes, entry.offset, data.size()));
    }
    GgufTensor tensor{entry.name, entry.type, entry.shape, data.subspan(entry.offset, entry.num_bytes)};
    if (!tensors_.emplace(entry.name, std::move(tensor)).second) {
      cursor.ThrowCorrupt("the tensor \"" + entry.name + "\" appears twice");
    }
  }
  CheckOverlap(std::move(entries), cursor);
}

const GgufValue& GgufFile::Get(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: the metadata key \"{}\" is missing", path().string(), key));
  }
  return found->second;
}

namespace {

[[noreturn]] void ThrowWrongType(const fs::path& path, const std::string& key, const char* expected) {
  throw Error(ErrorKind::kCorrupt,
              fmt::format("{}: the metadata key \"{}\" is not {}", path.string(), key, expected));
}

template <typename T>
const T& As(const GgufValue& value, const fs::path& path, const std::string& key, const char* expected) {
  const T* typed = std::get_if<T>(&value);
  if (typed == nullptr) {
    ThrowWrongType(path, key, expected);
  }
  return *typed;
}

}  // namespace

int64_t GgufFile::GetInt(const std::string& key) const {
  const GgufValue& value = Get(key);
  if (const auto* wide = std::get_if<uint64_t>(&value); wide != nullptr && std::in_range<int64_t>(*wide)) {
    return static_cast<int64_t>(*wide);
  }
  return As<int64_t>(value, path(), key, "an integer of 63 bits");
}

double GgufFile::GetDouble(const std::string& key) const {
  const GgufValue& value = Get(key);
  if (const auto* number = std::get_if<double>(&value)) {
    return *number;
  }
  return static_cast<double>(As<int64_t>(value, path(), key, "a number"));
}

bool GgufFile::GetBool(const std::string& key) const {
  return As<bool>(Get(key), path(), key, "true or false");
}

std::string GgufFile::GetString(const std::string& key) const {
  return std::string(As<std::string_view>(Get(key), path(), key, "a string"));
}

const std::vector<std::string_view>& GgufFile::GetStrings(const std::string& key) const {
  return As<std::vector<std::string_view>>(Get(key), path(), key, "a list of strings");
}

const std::vector<int64_t>& GgufFile::GetInts(const std::string& key) const {
  return As<std::vector<int64_t>>(Get(key), path(), key, "a list of integers");
}

const std::vector<double>& GgufFile::GetDoubles(const std::string& key) const {
  return As<std::vector<double>>(Get(key), path(), key, "a list of numbers");
}

const GgufTensor& GgufFile::GetTensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw Error(ErrorKind::kCorrupt, fmt::format("{}: the tensor \"{}\" is missing", path().string(), name));
  }
  return found->second;
}

}  // namespace elrea
