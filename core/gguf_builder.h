// Writes GGUF files (version 3): any metadata, any tensors, and so also wrong ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/gguf.h"

namespace elrea {

// Collects metadata and tensors in order and writes a version 3 file. Single-thread.
class GgufBuilder {
 public:
  GgufBuilder& SetInt(const std::string& key, int64_t value);  // as u32
  GgufBuilder& SetFloat(const std::string& key, float value);
  GgufBuilder& SetBool(const std::string& key, bool value);
  GgufBuilder& SetString(const std::string& key, const std::string& value);
  GgufBuilder& SetStrings(const std::string& key, const std::vector<std::string>& values);
  GgufBuilder& SetInts(const std::string& key, const std::vector<int32_t>& values);
  GgufBuilder& SetFloats(const std::string& key, const std::vector<float>& values);
  GgufBuilder& SetBools(const std::string& key, const std::vector<bool>& values);
  // `shape` row-major; `type` need not be a known one.
  GgufBuilder& AddTensor(const std::string& name, GgmlType type, std::vector<int64_t> shape,
                         std::string bytes);
  // The same without a copy; the bytes must stay valid until Write.
  GgufBuilder& AddTensorView(const std::string& name, GgmlType type, std::vector<int64_t> shape,
                             std::span<const std::byte> bytes);
  // A pair as another file holds it: its type and value.
  GgufBuilder& SetEncoded(const std::string& key, std::span<const std::byte> encoded);

  // A later Set or Add of a name replaces an earlier one; these drop one.
  GgufBuilder& Remove(const std::string& key_or_tensor);

  // Appears whole or not at all.
  void Write(const std::filesystem::path& path) const;

 private:
  struct Entry {
    std::string key;
    std::string encoded;  // type and value
  };
  struct Tensor {
    std::string name;
    GgmlType type;
    std::vector<int64_t> shape;
    std::string owned;
    std::span<const std::byte> view;  // when nothing is owned
    std::span<const std::byte> bytes() const {
      return owned.empty() ? view : std::as_bytes(std::span(owned.data(), owned.size()));
    }
  };
  GgufBuilder& Set(const std::string& key, std::string encoded);
  std::vector<Entry> entries_;
  std::vector<Tensor> tensors_;
};

}  // namespace elrea
