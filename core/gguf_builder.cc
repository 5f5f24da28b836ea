#include "core/gguf_builder.h"

#include <cstring>
#include <string_view>

#include "core/error.h"
#include "core/files.h"

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
  tensors_.push_back({name, type, std::move(shape), std::move(bytes), {}});
  return *this;
}

GgufBuilder& GgufBuilder::AddTensorView(const std::string& name, GgmlType type, std::vector<int64_t> shape,
                                        std::span<const std::byte> bytes) {
  Remove(name);
  tensors_.push_back({name, type, std::move(shape), {}, bytes});
  return *this;
}

GgufBuilder& GgufBuilder::SetEncoded(const std::string& key, std::span<const std::byte> encoded) {
  return Set(key, {reinterpret_cast<const char*>(encoded.data()), encoded.size()});
}

GgufBuilder& GgufBuilder::Remove(const std::string& key_or_tensor) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key_or_tensor; });
  std::erase_if(tensors_, [&](const Tensor& tensor) { return tensor.name == key_or_tensor; });
  return *this;
}

void GgufBuilder::Write(const std::filesystem::path& path) const {
  std::string head =
      "GGUF" + Encode<uint32_t>(3) + Encode<uint64_t>(tensors_.size()) + Encode<uint64_t>(entries_.size());
  for (const Entry& entry : entries_) head += EncodeString(entry.key) + entry.encoded;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    head += EncodeString(tensor.name) + Encode(static_cast<uint32_t>(tensor.shape.size()));
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim) {
      head += Encode(static_cast<uint64_t>(*dim));
    }
    head += Encode(static_cast<uint32_t>(tensor.type)) + Encode(offset);
    offset += tensor.bytes().size() + Padding(tensor.bytes().size());
  }
  head.append(Padding(head.size()), '\0');
  AtomicFile file(path);
  file.Write(head);
  for (const Tensor& tensor : tensors_) {
    file.Write(tensor.bytes().data(), tensor.bytes().size());
    file.Write(std::string(Padding(tensor.bytes().size()), '\0'));
  }
  file.Commit();
}

}  // namespace elrea
