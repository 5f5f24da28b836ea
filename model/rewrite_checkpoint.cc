#include "model/rewrite_checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <list>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf.h"
#include "core/gguf_builder.h"
#include "core/safetensors.h"
#include "model/pickle.h"

namespace elrea {

using torch::Tensor;

namespace {

constexpr const char* kRecordKey = "elrea.checked";

Tensor Rounded(const Tensor& values, torch::Dtype dtype, const std::string& name) {
  const Tensor rounded = values.to(dtype).contiguous();
  if (at::isfinite(rounded).all().item<bool>()) return rounded;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("tensor {} has values that {} cannot hold; start from a checkpoint of a wider type", name,
                          torch::toString(dtype)));
}

std::span<const std::byte> BytesOf(const Tensor& t) { return {static_cast<const std::byte*>(t.data_ptr()), t.nbytes()}; }

torch::Dtype TorchType(DType dtype) {
  return dtype == DType::kBF16 ? torch::kBFloat16 : dtype == DType::kF16 ? torch::kHalf : torch::kFloat;
}

void RewriteSafetensors(const fs::path& source, const fs::path& target, const std::map<std::string, Tensor>& replaced,
                        const std::string& record) {
  const SafetensorsFile file(source);
  std::list<Tensor> keep_alive;
  std::vector<NamedTensor> tensors;
  for (const auto& [name, view] : file.tensors()) {
    const auto it = replaced.find(name);
    if (it == replaced.end()) {
      tensors.push_back({name, view.dtype, view.shape, view.bytes});
    } else {
      keep_alive.push_back(Rounded(it->second, TorchType(view.dtype), name));
      tensors.push_back({name, view.dtype, view.shape, BytesOf(keep_alive.back())});
    }
  }
  std::map<std::string, std::string> metadata = file.metadata();
  metadata.erase("elrea.checksum");  // of the other tensors
  if (!record.empty()) metadata[kRecordKey] = record;
  WriteSafetensors(target, tensors, metadata);
}

bool HoldsOtherWeights(const fs::path& path) {
  const std::string extension = path.extension().string();
  return IsPickleName(path) || extension == ".gguf" || extension == ".h5" || extension == ".msgpack" || extension == ".onnx";
}

void RewriteGguf(const fs::path& source, const fs::path& target, const std::map<std::string, Tensor>& replaced,
                 const std::string& record) {
  const GgufFile file(source);
  GgufBuilder builder;
  for (const auto& [key, value] : file.metadata()) {
    if (key != "general.alignment") builder.SetEncoded(key, file.EncodedValue(key));  // ours is the usual one
  }
  if (!record.empty()) builder.SetString(kRecordKey, record);
  std::list<Tensor> keep_alive;
  for (const auto& [name, tensor] : file.tensors()) {
    const auto it = replaced.find(name);
    if (it == replaced.end()) {
      builder.AddTensorView(name, tensor.type, tensor.shape, tensor.bytes);
      continue;
    }
    const bool keeps = tensor.type == GgmlType::kF32 || tensor.type == GgmlType::kBF16;
    const GgmlType type = keeps ? tensor.type : GgmlType::kF16;
    const auto dtype = type == GgmlType::kF32 ? torch::kFloat : type == GgmlType::kBF16 ? torch::kBFloat16 : torch::kHalf;
    keep_alive.push_back(Rounded(it->second, dtype, name));
    builder.AddTensorView(name, type, tensor.shape, BytesOf(keep_alive.back()));
  }
  builder.Write(target);
}

}  // namespace

void CopyModelDirectory(const std::filesystem::path& source, const std::filesystem::path& target,
                        const std::function<void(const fs::path& from, const fs::path& to)>& rewrite) {
  fs::create_directories(target);
  for (const auto& entry : fs::directory_iterator(source)) {
    const fs::path& path = entry.path();
    if (!entry.is_regular_file() || HoldsOtherWeights(path)) continue;
    const fs::path to = target / path.filename();
    if (path.extension() == ".safetensors") {
      rewrite(path, to);
    } else {
      fs::copy_file(path, to, fs::copy_options::overwrite_existing);
    }
  }
}

void RewriteCheckpoint(const std::filesystem::path& source, const std::filesystem::path& target,
                       const std::map<std::string, Tensor>& replaced, const std::string& record) {
  if (fs::is_directory(source)) {
    CopyModelDirectory(source, target, [&](const fs::path& from, const fs::path& to) {
      RewriteSafetensors(from, to, replaced, record);
    });
  } else {
    RewriteGguf(source, target, replaced, record);
  }
}

}  // namespace elrea
