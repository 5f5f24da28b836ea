#include "model/testing_gguf.h"

#include <c10/util/Half.h>

#include <cstring>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"

namespace elrea {
namespace {

constexpr size_t kAlignment = 32;
// Numbers of the value types in the file.
constexpr uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9;

template <typename T>
std::string Encode(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

std::string EncodeString(std::string_view text) {
  return Encode<uint64_t>(text.size()).append(text.data(), text.size());
}

// `item` encodes one element.
template <typename Items, typename Item>
std::string EncodeArray(uint32_t item_type, const Items& items, Item item) {
  std::string encoded = Encode(kArray) + Encode(item_type) + Encode<uint64_t>(items.size());
  for (const auto& value : items) encoded += item(value);
  return encoded;
}

size_t Padding(size_t size) { return (kAlignment - size % kAlignment) % kAlignment; }

}  // namespace

GgufBuilder& GgufBuilder::Set(const std::string& key, std::string encoded) {
  Remove(key);
  entries_.push_back({key, std::move(encoded)});
  return *this;
}

GgufBuilder& GgufBuilder::SetInt(const std::string& key, int64_t value) {
  return Set(key, Encode(kU32) + Encode(static_cast<uint32_t>(value)));
}

GgufBuilder& GgufBuilder::SetFloat(const std::string& key, float value) {
  return Set(key, Encode(kF32) + Encode(value));
}

GgufBuilder& GgufBuilder::SetBool(const std::string& key, bool value) {
  return Set(key, Encode(kBool) + Encode(static_cast<uint8_t>(value)));
}

GgufBuilder& GgufBuilder::SetString(const std::string& key, const std::string& value) {
  return Set(key, Encode(kString) + EncodeString(value));
}

GgufBuilder& GgufBuilder::SetStrings(const std::string& key, const std::vector<std::string>& values) {
  return Set(key, EncodeArray(kString, values, EncodeString));
}

GgufBuilder& GgufBuilder::SetInts(const std::string& key, const std::vector<int32_t>& values) {
  return Set(key, EncodeArray(kI32, values, Encode<int32_t>));
}

GgufBuilder& GgufBuilder::SetFloats(const std::string& key, const std::vector<float>& values) {
  return Set(key, EncodeArray(kF32, values, Encode<float>));
}

GgufBuilder& GgufBuilder::SetBools(const std::string& key, const std::vector<bool>& values) {
  return Set(key, EncodeArray(kBool, values, [](bool value) { return Encode(static_cast<uint8_t>(value)); }));
}

GgufBuilder& GgufBuilder::AddTensor(const std::string& name, GgmlType type, std::vector<int64_t> shape,
                                    std::string bytes) {
  Remove(name);
  tensors_.push_back({name, type, std::move(shape), std::move(bytes)});
  return *this;
}

GgufBuilder& GgufBuilder::Remove(const std::string& key_or_tensor) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key_or_tensor; });
  std::erase_if(tensors_, [&](const Tensor& tensor) { return tensor.name == key_or_tensor; });
  return *this;
}

void GgufBuilder::Write(const std::filesystem::path& path) const {
  std::string file =
      "GGUF" + Encode<uint32_t>(3) + Encode<uint64_t>(tensors_.size()) + Encode<uint64_t>(entries_.size());
  for (const Entry& entry : entries_) file += EncodeString(entry.key) + entry.encoded;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    file += EncodeString(tensor.name) + Encode(static_cast<uint32_t>(tensor.shape.size()));
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim) {
      file += Encode(static_cast<uint64_t>(*dim));
    }
    file += Encode(static_cast<uint32_t>(tensor.type)) + Encode(offset);
    offset += tensor.bytes.size() + Padding(tensor.bytes.size());
  }
  file.append(Padding(file.size()), '\0');
  for (const Tensor& tensor : tensors_) {
    file += tensor.bytes;
    file.append(Padding(tensor.bytes.size()), '\0');
  }
  WriteFileAtomically(path, file);
}

namespace {

// Where a block keeps its f16 scale and minimum (-1: none), and values that give numbers of size one.
struct BlockNumbers {
  int scale_at, minimum_at;
  double scale, minimum;
};
BlockNumbers NumbersOf(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_0:
      return {0, -1, 1.0 / 8, 0};
    case GgmlType::kQ4_1:
      return {0, 2, 2.0 / 15, -1};
    case GgmlType::kQ5_0:
      return {0, -1, 1.0 / 16, 0};
    case GgmlType::kQ5_1:
      return {0, 2, 2.0 / 31, -1};
    case GgmlType::kQ8_0:
      return {0, -1, 1.0 / 128, 0};
    case GgmlType::kQ4_K:
      return {0, 2, 2.0 / 15 / 40, 1.0 / 40};  // scales and minima in the block are 0..63
    case GgmlType::kQ5_K:
      return {0, 2, 2.0 / 31 / 40, 1.0 / 40};
    case GgmlType::kQ6_K:
      return {208, -1, 1.0 / 32 / 64, 0};
    default:
      throw Error(ErrorKind::kInternal, "not a quantised type");
  }
}

}  // namespace

std::string RandomBlocks(GgmlType type, int64_t elements, uint64_t seed, double magnitude) {
  const BlockNumbers numbers = NumbersOf(type);
  const int64_t block_bytes = GgmlBlockBytes(type), num_blocks = elements / GgmlBlockElements(type);
  std::string bytes(static_cast<size_t>(num_blocks * block_bytes), '\0');
  Rng rng(seed);
  for (char& byte : bytes) byte = static_cast<char>(rng.Below(256));
  for (int64_t b = 0; b < num_blocks; ++b) {
    const auto put = [&](int at, double value) {
      const c10::Half half(
          static_cast<float>(value * magnitude * (0.8 + 0.4 * static_cast<double>(b % 8) / 8)));
      if (at >= 0) std::memcpy(&bytes[static_cast<size_t>(b * block_bytes + at)], &half, sizeof half);
    };
    put(numbers.scale_at, numbers.scale);
    put(numbers.minimum_at, numbers.minimum);
  }
  return bytes;
}

}  // namespace elrea
