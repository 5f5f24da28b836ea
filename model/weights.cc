#include "model/weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <map>
#include <memory>
#include <set>

#include "core/error.h"
#include "core/safetensors.h"
#include "model/codes_file.h"
#include "model/gguf_weights.h"
#include "model/hf_weights.h"
#include "model/tensor_table.h"

namespace elrea {
namespace {

const std::map<WeightStorage, std::string> kStorageNames = {{WeightStorage::kDense, "none"},
                                                            {WeightStorage::kKeep, "keep"},
                                                            {WeightStorage::kNf4, "nf4"},
                                                            {WeightStorage::kNf4Double, "nf4_double"},
                                                            {WeightStorage::kInt8, "int8"}};

DType FileType(torch::Dtype dtype) { return dtype == torch::kBFloat16 ? DType::kBF16 : DType::kF32; }

std::unique_ptr<CodesFile> OpenCodes(const fs::path& path, WeightStorage storage) {
  if (path.empty()) return nullptr;
  auto file = std::make_unique<CodesFile>(path);
  if (file->origin().storage == kStorageNames.at(storage)) return file;
  throw Error(ErrorKind::kInvalidInput, fmt::format("{} holds codes of {}, not of {}; set model.quantize={}", path.string(),
                                                    file->origin().storage, kStorageNames.at(storage), file->origin().storage));
}

void CheckOrigin(const CodesFile& codes, const fs::path& path, const ModelWeights& weights) {
  if (codes.origin().fingerprint == weights.fingerprint) return;
  throw Error(ErrorKind::kInvalidInput, fmt::format("{} holds codes of another model than {} (fingerprints {} and {})",
                                                    path.string(), weights.origin, codes.origin().fingerprint, weights.fingerprint));
}

}  // namespace

WeightStorage ParseWeightStorage(const std::string& name) {
  for (const auto& [storage, text] : kStorageNames) {
    if (name == text) return storage;
  }
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("unknown way to hold weights {}; use none, keep, nf4, nf4_double or int8", name));
}

ModelWeights LoadModelWeights(const std::filesystem::path& model, torch::Dtype dtype, WeightStorage storage,
                              const std::filesystem::path& codes) {
  if (dtype != torch::kFloat && dtype != torch::kBFloat16) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("weights cannot be loaded as {}; use f32 or bf16", torch::toString(dtype)));
  }
  const at::NoGradGuard no_grad;
  const std::unique_ptr<CodesFile> calibrated = OpenCodes(codes, storage);
  ModelWeights weights = fs::is_directory(model) ? LoadHuggingFaceWeights(model, dtype, storage, calibrated.get())
                                                 : LoadGgufWeights(model, dtype, storage, calibrated.get());
  if (calibrated) CheckOrigin(*calibrated, codes, weights);
  if (storage != WeightStorage::kDense && storage != WeightStorage::kKeep)
    weights.fingerprint += fmt::format("-{}", kStorageNames.at(storage));
  if (calibrated) weights.fingerprint += fmt::format("-{}", calibrated->checksum());
  return weights;
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
  for (const TensorSlot& slot : ListTensors(view)) {
    int64_t elements = 1;
    for (const int64_t size : slot.shape) elements *= size;
    count += elements;
  }
  return count;
}

int64_t CountBytes(const ModelWeights& weights) {
  ModelWeights view = weights;
  int64_t bytes = 0;
  std::set<const MatrixCodes*> counted;
  for (const TensorSlot& slot : ListTensors(view)) {
    if (slot.tensor->defined()) bytes += static_cast<int64_t>(slot.tensor->nbytes());
    if (slot.codes != nullptr && *slot.codes && counted.insert(slot.codes->codes.get()).second)
      bytes += slot.codes->codes->num_bytes();
  }
  return bytes;
}

}  // namespace elrea
