#include "lora/tensor_file.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "core/error.h"

namespace elrea {

using torch::Tensor;

namespace {

DType FileType(const Tensor& t) {
  switch (t.scalar_type()) {
    case torch::kFloat: return DType::kF32;
    case torch::kBFloat16: return DType::kBF16;
    case torch::kLong: return DType::kI64;
    default: throw Error(ErrorKind::kInternal, "SaveTensors: unsupported tensor type");
  }
}

}  // namespace

void SaveTensors(const fs::path& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                 const std::map<std::string, std::string>& metadata) {
  std::vector<Tensor> alive;  // keeps the bytes until they are written
  std::vector<NamedTensor> named;
  for (const auto& [name, tensor] : tensors) {
    alive.push_back(tensor.cpu().contiguous());
    const Tensor& t = alive.back();
    named.push_back({name, FileType(t), t.sizes().vec(), {static_cast<const std::byte*>(t.data_ptr()), t.nbytes()}});
  }
  WriteSafetensors(path, named, metadata);
}

Tensor LoadFloat(const SafetensorsFile& file, const std::string& name) {
  const TensorView& view = file.Get(name);
  torch::Dtype dtype;
  switch (view.dtype) {
    case DType::kF32: dtype = torch::kFloat; break;
    case DType::kF16: dtype = torch::kHalf; break;
    case DType::kBF16: dtype = torch::kBFloat16; break;
    default:
      throw Error(ErrorKind::kCorrupt, fmt::format("{}: tensor {} has type {}, expected F32, F16 or BF16",
                                                   file.path().string(), name, DTypeName(view.dtype)));
  }
  return torch::from_blob(const_cast<std::byte*>(view.bytes.data()), view.shape, dtype).to(torch::kFloat, false, true);
}

}  // namespace elrea
