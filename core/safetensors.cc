// Reading with every length checked before it is believed, writing in one fixed order.
#include "core/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/json.h"
#include "core/streaming_checksum.h"

namespace elrea {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr const char* kMetadataKey = "__metadata__";
constexpr const char* kChecksumKey = "elrea.checksum";

struct DTypeInfo {
  DType dtype;
  const char* name;
  size_t num_bytes;
};
constexpr DTypeInfo kDTypes[] = {
    {DType::kF64, "F64", 8}, {DType::kF32, "F32", 4},   {DType::kF16, "F16", 2}, {DType::kBF16, "BF16", 2},
    {DType::kI64, "I64", 8}, {DType::kI32, "I32", 4},   {DType::kI16, "I16", 2}, {DType::kI8, "I8", 1},
    {DType::kU8, "U8", 1},   {DType::kBool, "BOOL", 1},
};

const DTypeInfo& Info(DType dtype) {
  const auto* found = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                   [&](const DTypeInfo& info) { return info.dtype == dtype; });
  if (found == std::end(kDTypes)) {
    throw Error(ErrorKind::kInternal, "not a DType");
  }
  return *found;
}

[[noreturn]] void ThrowCorrupt(const fs::path& path, const std::string& what) {
  throw Error(
      ErrorKind::kCorrupt,
      fmt::format("{}: {}; the file is damaged or is not safetensors, get it again", path.string(), what));
}

// The product of the shape and the element size, or nothing when it overflows or a dimension is negative.
std::optional<uint64_t> ByteSize(const std::vector<int64_t>& shape, size_t element_bytes) {
  uint64_t size = element_bytes;
  for (int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(size, static_cast<uint64_t>(dim), &size)) {
      return std::nullopt;
    }
  }
  return size;
}

TensorView ReadEntry(const std::string& name, const SortedJson& entry, std::span<const std::byte> data,
                     const fs::path& path) {
  const std::string origin = fmt::format("{}: tensor \"{}\"", path.string(), name);
  const auto dtype_name = JsonField<std::string>(entry, "dtype", origin);
  const auto* info = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                  [&](const DTypeInfo& known) { return dtype_name == known.name; });
  if (info == std::end(kDTypes)) {
    ThrowCorrupt(path,
                 fmt::format("tensor \"{}\" has the unknown dtype {}", name, JsonExcerpt(entry["dtype"])));
  }
  TensorView view{info->dtype, JsonField<std::vector<int64_t>>(entry, "shape", origin), {}};
  const auto offsets = JsonField<std::vector<uint64_t>>(entry, "data_offsets", origin);
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size()) {
    ThrowCorrupt(path,
                 fmt::format("tensor \"{}\" lies outside the {} data bytes of the file", name, data.size()));
  }
  const auto expected = ByteSize(view.shape, info->num_bytes);
  const uint64_t actual = offsets[1] - offsets[0];
  if (!expected || *expected != actual) {
    ThrowCorrupt(path, fmt::format("tensor \"{}\" of shape [{}] and type {} cannot have {} bytes", name,
                                   fmt::join(view.shape, ", "), info->name, actual));
  }
  view.bytes = data.subspan(offsets[0], actual);
  return view;
}

using Entry = std::pair<const std::string, TensorView>;

// By address; empty tensors share theirs with the next, so size decides, then the name.
std::vector<const Entry*> InFileOrder(const std::map<std::string, TensorView>& tensors) {
  std::vector<const Entry*> order;
  for (const auto& entry : tensors) {
    order.push_back(&entry);
  }
  std::stable_sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
    const auto &left = a->second.bytes, &right = b->second.bytes;
    return left.data() != right.data() ? left.data() < right.data() : left.size() < right.size();
  });
  return order;
}

// The format allows neither overlap nor holes.
void CheckTiling(const std::map<std::string, TensorView>& tensors, std::span<const std::byte> data,
                 const fs::path& path) {
  const std::byte* expected = data.data();
  for (const Entry* entry : InFileOrder(tensors)) {
    const auto& bytes = entry->second.bytes;
    if (bytes.data() < expected) {
      ThrowCorrupt(path, fmt::format("tensor \"{}\" overlaps another", entry->first));
    }
    if (bytes.data() > expected) {
      ThrowCorrupt(path, fmt::format("unused bytes before tensor \"{}\"", entry->first));
    }
    expected = bytes.data() + bytes.size();
  }
  if (expected != data.data() + data.size()) {
    ThrowCorrupt(path, "unused bytes after the last tensor");
  }
}

// Larger element types first, then by name: with a header padded to 8 bytes every tensor is aligned to its
// type.
std::vector<const NamedTensor*> WritingOrder(const fs::path& path, const std::vector<NamedTensor>& tensors) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& tensor : tensors) {
    if (ByteSize(tensor.shape, DTypeBytes(tensor.dtype)) != tensor.bytes.size()) {
      throw Error(ErrorKind::kInternal,
                  fmt::format("{}: tensor \"{}\" of shape [{}] was given {} bytes", path.string(),
                              tensor.name, fmt::join(tensor.shape, ", "), tensor.bytes.size()));
    }
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    const size_t a_bytes = DTypeBytes(a->dtype), b_bytes = DTypeBytes(b->dtype);
    return a_bytes != b_bytes ? a_bytes > b_bytes : a->name < b->name;
  });
  return order;
}

std::string Header(const fs::path& path, const std::vector<const NamedTensor*>& order,
                   const std::map<std::string, std::string>& metadata) {
  SortedJson header = SortedJson::object();
  if (!metadata.empty()) {
    header[kMetadataKey] = metadata;
  }
  uint64_t offset = 0;
  for (const NamedTensor* tensor : order) {
    if (tensor->name == kMetadataKey || header.contains(tensor->name)) {
      throw Error(ErrorKind::kInternal,
                  fmt::format("{}: two tensors are called \"{}\"", path.string(), tensor->name));
    }
    const uint64_t end = offset + tensor->bytes.size();
    header[tensor->name] = {
        {"dtype", DTypeName(tensor->dtype)}, {"shape", tensor->shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump(-1, ' ', false, SortedJson::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

size_t DTypeBytes(DType dtype) { return Info(dtype).num_bytes; }
const char* DTypeName(DType dtype) { return Info(dtype).name; }

SafetensorsFile::SafetensorsFile(const fs::path& path) : file_(path) {
  const std::span<const std::byte> bytes = file_.bytes();
  uint64_t header_bytes = 0;
  if (bytes.size() < kLengthBytes) {
    ThrowCorrupt(path, fmt::format("only {} bytes long", bytes.size()));
  }
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);  // little-endian, as every machine we build for
  if (header_bytes > bytes.size() - kLengthBytes || header_bytes > kMaxHeaderBytes) {
    ThrowCorrupt(path, fmt::format("header length {} exceeds the file's {} bytes or the format's limit",
                                   header_bytes, bytes.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_bytes);
  const SortedJson header = ParseSortedJson(text, path.string() + ": header");
  if (!header.is_object()) {
    ThrowCorrupt(path, "the header is not a JSON object");
  }
  const auto data = bytes.subspan(kLengthBytes + header_bytes);
  for (const auto& [name, entry] : header.items()) {
    if (name != kMetadataKey) {
      tensors_.emplace(name, ReadEntry(name, entry, data, path));
      continue;
    }
    if (!entry.is_object()) {
      ThrowCorrupt(path, "__metadata__ is not a JSON object");
    }
    for (const auto& [key, value] : entry.items()) {
      metadata_[key] = JsonField<std::string>(entry, key.c_str(), path.string() + ": __metadata__");
    }
  }
  CheckTiling(tensors_, data, path);
}

const TensorView& SafetensorsFile::Get(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw Error(ErrorKind::kCorrupt, fmt::format("{}: the tensor \"{}\" is missing", path().string(), name));
  }
  return found->second;
}

void WriteSafetensors(const fs::path& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata, bool checksum) {
  const std::vector<const NamedTensor*> order = WritingOrder(path, tensors);
  std::map<std::string, std::string> full_metadata = metadata;
  if (checksum) {
    StreamingChecksum sum;
    for (const NamedTensor* tensor : order) {
      sum.Add(tensor->bytes);
    }
    full_metadata[kChecksumKey] = sum.Hex();
  }
  const std::string header = Header(path, order, full_metadata);
  const uint64_t header_bytes = header.size();
  AtomicFile file(path);
  file.Write(&header_bytes, kLengthBytes);
  file.Write(header);
  for (const NamedTensor* tensor : order) {
    file.Write(tensor->bytes.data(), tensor->bytes.size());
  }
  file.Commit();
}

void VerifySafetensors(const SafetensorsFile& file) {
  const auto stored = file.metadata().find(kChecksumKey);
  if (stored == file.metadata().end()) {
    return;
  }
  StreamingChecksum sum;
  for (const Entry* entry : InFileOrder(file.tensors())) {
    sum.Add(entry->second.bytes);
  }
  if (const std::string actual = sum.Hex(); actual != stored->second) {
    throw Error(
        ErrorKind::kCorrupt,
        fmt::format("{}: the checksum of the tensors is {}, but {} was stored; the file is damaged, make or "
                    "get it again",
                    file.path().string(), actual, stored->second));
  }
}

}  // namespace elrea
