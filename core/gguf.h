// The GGUF container (versions 2 and 3): metadata and tensor table, memory-mapped. The tokenizer reads its
// vocabulary from it and the model its weights, so it lives here; it knows neither. Source: ggml's GGUF
// description.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/files.h"

namespace elrea {

// ggml tensor types with their numbers in the file.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};
// Name as ggml prints it ("Q4_K"); "type 99" for one we do not support.
std::string GgmlTypeName(uint32_t type);
// Elements and bytes of one block; REQUIRES: a supported type.
int64_t GgmlBlockElements(GgmlType type);
int64_t GgmlBlockBytes(GgmlType type);

struct GgufTensor {
  std::string name;
  GgmlType type;
  std::vector<int64_t> shape;  // row-major, outermost first (the file stores it reversed)
  std::span<const std::byte> bytes;
};

using GgufValue = std::variant<bool, int64_t, uint64_t, double, std::string_view, std::vector<int64_t>,
                               std::vector<double>, std::vector<std::string_view>>;

// Const-shareable; all views are valid while it lives.
class GgufFile {
 public:
  // kNotFound; kCorrupt for bad magic, truncation, hostile counts or offsets, overlapping tensors;
  // kInvalidInput for an unsupported version or tensor type. Messages name file and key or tensor. Memory is
  // bounded by the file size.
  explicit GgufFile(const fs::path& path);

  bool Contains(const std::string& key) const { return metadata_.count(key) > 0; }
  // kCorrupt naming file and key when missing or of another type. Integers convert to each other when they
  // fit.
  int64_t GetInt(const std::string& key) const;
  double GetDouble(const std::string& key) const;
  bool GetBool(const std::string& key) const;
  std::string GetString(const std::string& key) const;
  const std::vector<std::string_view>& GetStrings(const std::string& key) const;
  const std::vector<int64_t>& GetInts(const std::string& key) const;
  const std::vector<double>& GetDoubles(const std::string& key) const;

  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  // Type and value of a pair as they stand in the file. REQUIRES: Contains.
  std::span<const std::byte> EncodedValue(const std::string& key) const { return encoded_.at(key); }
  const std::map<std::string, GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor& GetTensor(const std::string& name) const;  // kCorrupt naming file and tensor when missing
  const fs::path& path() const { return file_.path(); }

 private:
  const GgufValue& Get(const std::string& key) const;
  MappedFile file_;
  std::map<std::string, GgufValue> metadata_;
  std::map<std::string, std::span<const std::byte>> encoded_;
  std::map<std::string, GgufTensor> tensors_;
};

}  // namespace elrea
