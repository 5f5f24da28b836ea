// The safetensors layout: 8-byte little-endian header length, JSON header, raw tensor bytes. Memory-mapped
// reading, atomic writing. Knows nothing of torch or of models. Source: the safetensors format description.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/files.h"

namespace elrea {

enum class DType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };
size_t DTypeBytes(DType dtype);
const char* DTypeName(DType dtype);  // the safetensors spelling: "F32", "BF16", ...

// A view of one tensor inside a mapped file; valid while the owner lives. Row-major.
struct TensorView {
  DType dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

// Const-shareable.
class SafetensorsFile {
 public:
  // kNotFound, kCorrupt: header longer than the file, overlapping or out-of-range offsets, sizes that do not
  // match the shape, counts that overflow, unknown dtype; the message names file and tensor.
  explicit SafetensorsFile(const fs::path& path);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  bool Contains(const std::string& name) const { return tensors_.count(name) > 0; }
  const TensorView& Get(const std::string& name) const;  // kCorrupt naming file and tensor when missing
  const fs::path& path() const { return file_.path(); }

 private:
  MappedFile file_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// One tensor to write; the bytes must stay valid until WriteSafetensors returns.
struct NamedTensor {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

// Deterministic: equal input gives equal bytes. With `checksum`, metadata gains "elrea.checksum" (XXH3 of all
// tensor bytes in file order), which VerifySafetensors re-computes.
void WriteSafetensors(const fs::path& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {}, bool checksum = true);

// kCorrupt when the stored checksum does not match; nothing when the file carries none.
void VerifySafetensors(const SafetensorsFile& file);

}  // namespace elrea
