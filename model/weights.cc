#include "model/weights.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include "core/error.h"
#include "core/safetensors.h"
#include "model/gguf_weights.h"
#include "model/hf_weights.h"
#include "model/tensor_table.h"

namespace elrea {
namespace {

DType FileType(torch::Dtype dtype) { return dtype == torch::kBFloat16 ? DType::kBF16 : DType::kF32; }

}  // namespace

ModelWeights LoadModelWeights(const std::filesystem::path& model, torch::Dtype dtype) {
  if (dtype != torch::kFloat && dtype != torch::kBFloat16) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("weights cannot be loaded as {}; use f32 or bf16", torch::toString(dtype)));
  }
  return fs::is_directory(model) ? LoadHuggingFaceWeights(model, dtype) : LoadGgufWeights(model, dtype);
}

void DumpWeights(const ModelWeights& weights, const std::filesystem::path& path) {
  ModelWeights view = weights;  // tensors are shared, not copied
  std::vector<torch::Tensor> keep_alive;
  std::vector<NamedTensor> tensors;
  for (const StoredTensor& stored : StoredTensors(ListTensors(view))) {
    keep_alive.push_back(stored.tensor);
    tensors.push_back({stored.slot.hf_name,
                       FileType(stored.tensor.scalar_type()),
                       stored.tensor.sizes().vec(),
                       {static_cast<const std::byte*>(stored.tensor.data_ptr()), stored.tensor.nbytes()}});
  }
  WriteSafetensors(path, tensors, {{"elrea.config", JsonLine(weights.config.ToJson())}});
}

int64_t CountParameters(const ModelWeights& weights) {
  ModelWeights view = weights;
  int64_t count = 0;
  for (const TensorSlot& slot : ListTensors(view)) count += slot.tensor->numel();
  return count;
}

}  // namespace elrea
