#include "model/hf_weights.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "core/error.h"
#include "core/safetensors.h"
#include "model/bitsandbytes.h"
#include "model/codes_file.h"
#include "model/pickle.h"
#include "model/quantize.h"
#include "model/tensor_table.h"

namespace elrea {
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

// All tensors of a checkpoint, whatever file they are in.
struct Checkpoint {
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> file_of;

  void Add(const fs::path& path, const std::map<std::string, std::string>* only_listed = nullptr) {
    const auto file = std::make_shared<const SafetensorsFile>(path);
    for (const auto& [name, view] : file->tensors()) {
      if (only_listed != nullptr && !IsListed(*only_listed, name, path)) continue;
      tensors.emplace(name, view);
      file_of.emplace(name, file);
    }
  }

 private:
  static bool IsListed(const std::map<std::string, std::string>& listed, const std::string& name,
                       const fs::path& path) {
    const auto it = listed.find(name);
    return it != listed.end() && it->second == path.filename().string();
  }
};

// {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors", ...}}
std::map<std::string, std::string> ReadIndex(const fs::path& path) {
  const Json index = ReadJsonFile(path);
  const auto map = JsonField<Json>(index, "weight_map", path.string());
  std::map<std::string, std::string> file_of;
  if (!map.is_object()) {
    throw Error(ErrorKind::kCorrupt, path.string() + ": weight_map is no object; take the file again");
  }
  for (const auto& [name, file] : map.items()) {
    const std::string file_name = file.is_string() ? file.get<std::string>() : "";
    if (file_name.empty() || fs::path(file_name).filename() != fs::path(file_name)) {
      throw Error(ErrorKind::kCorrupt,
                  fmt::format("{}: weight_map[\"{}\"] is {}, not the name of a file beside it; "
                              "take the file again",
                              path.string(), name, JsonLine(file)));
    }
    file_of.emplace(name, file_name);
  }
  return file_of;
}

void OpenShards(const fs::path& directory, Checkpoint& checkpoint) {
  const fs::path index_path = directory / kIndexFile;
  const auto file_of = ReadIndex(index_path);
  std::vector<std::string> shards;
  for (const auto& [name, file] : file_of) shards.push_back(file);
  std::sort(shards.begin(), shards.end());
  shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
  for (const std::string& shard : shards) {
    if (!fs::exists(directory / shard)) {
      throw Error(ErrorKind::kNotFound,
                  fmt::format("{} is missing, but {} lists it; take the checkpoint again",
                              (directory / shard).string(), index_path.string()));
    }
    checkpoint.Add(directory / shard, &file_of);
  }
  for (const auto& [name, file] : file_of) {
    if (checkpoint.tensors.count(name) == 0) {
      throw Error(ErrorKind::kCorrupt,
                  fmt::format("{}: {} is not in {}, where {} says it is; take the checkpoint "
                              "again",
                              directory.string(), name, file, kIndexFile));
    }
  }
}

Checkpoint OpenCheckpoint(const fs::path& directory) {
  Checkpoint checkpoint;
  if (fs::exists(directory / kIndexFile)) {
    OpenShards(directory, checkpoint);
  } else if (fs::exists(directory / kSingleFile)) {
    checkpoint.Add(directory / kSingleFile);
  } else {
    RefusePickledModel(directory);
    throw Error(ErrorKind::kNotFound,
                fmt::format("{} holds neither {} nor {}; give a model's directory or a .gguf "
                            "file",
                            directory.string(), kSingleFile, kIndexFile));
  }
  return checkpoint;
}

torch::Dtype TorchType(const TensorView& view, const std::string& name, const fs::path& path) {
  switch (view.dtype) {
    case DType::kF32:
      return torch::kFloat;
    case DType::kF16:
      return torch::kHalf;
    case DType::kBF16:
      return torch::kBFloat16;
    default:
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("{}: {} is of type {}; only F32, F16 and BF16 tensors are "
                              "supported, convert the checkpoint to one of them",
                              path.string(), name, DTypeName(view.dtype)));
  }
}

// Rotary frequencies that old versions saved are recomputed; a head equal to the tied embedding is a copy of
// it.
bool IsRedundant(const std::string& name, const Checkpoint& checkpoint, const ModelConfig& config,
                 const std::string& origin) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  if (name != "lm_head.weight" || !config.tied_embeddings) return false;
  const auto embedding = checkpoint.tensors.find("model.embed_tokens.weight");
  const TensorView& head = checkpoint.tensors.at(name);
  if (embedding != checkpoint.tensors.end() && embedding->second.dtype == head.dtype &&
      std::ranges::equal(embedding->second.bytes, head.bytes)) {
    return true;
  }
  throw Error(ErrorKind::kCorrupt,
              fmt::format("{}: config.json ties the embeddings, but lm_head.weight differs from "
                          "model.embed_tokens.weight; set \"tie_word_embeddings\" to false if it is the head",
                          origin));
}

using QuantisedMatrices = std::map<std::string, BitsAndBytesMatrix>;

void Check(const Checkpoint& checkpoint, const QuantisedMatrices& quantised, const std::vector<TensorSlot>& slots,
           const ModelConfig& config, const std::string& origin) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, view] : checkpoint.tensors) shapes.emplace(name, view.shape);
  for (const auto& [name, matrix] : quantised) {
    shapes[name] = matrix.shape;
    for (const std::string& companion : matrix.companions) shapes.erase(companion);
  }
  CheckTensors(
      slots, &TensorSlot::hf_name, shapes,
      [&](const std::string& name) { return IsRedundant(name, checkpoint, config, origin); }, origin);
}

std::string CheckpointFingerprint(const Checkpoint& checkpoint) {
  std::map<std::string, FingerprintEntry> entries;
  for (const auto& [name, view] : checkpoint.tensors) {
    entries.emplace(name, FingerprintEntry{DTypeName(view.dtype), view.shape, view.bytes});
  }
  return Fingerprint(entries);
}

// Whether a tensor may lie at this address; old writers did not pad the header.
bool IsAligned(const TensorView& view) {
  return reinterpret_cast<uintptr_t>(view.bytes.data()) % DTypeBytes(view.dtype) == 0;
}

// A dense tensor of the checkpoint, in the mapped file itself where it can be.
torch::Tensor StoredValues(const TensorView& view, torch::Dtype type, std::shared_ptr<const SafetensorsFile> file) {
  if (IsAligned(view)) return MappedTensor(view.bytes, view.shape, type, std::move(file));
  torch::Tensor values = torch::empty(view.shape, torch::dtype(type));
  std::memcpy(values.data_ptr(), view.bytes.data(), view.bytes.size());
  return values;
}

// Fills slots from one checkpoint.
class SlotFiller {
 public:
  SlotFiller(const Checkpoint& checkpoint, const QuantisedMatrices& quantised, torch::Dtype dtype,
             WeightStorage storage, std::string origin)
      : checkpoint_(checkpoint), quantised_(quantised), dtype_(dtype), storage_(storage), origin_(std::move(origin)) {}

  void Fill(const TensorSlot& slot, bool add_one) {
    const bool is_quantised = quantised_.contains(slot.hf_name);
    if (slot.codes != nullptr && (storage_ == WeightStorage::kKeep ? is_quantised : storage_ != WeightStorage::kDense)) {
      *slot.codes = {Codes(slot.hf_name), slot.first_row, slot.shape[0]};
      return;
    }
    if (is_quantised) {
      *slot.tensor = AllocateSlot(slot, dtype_);
      DequantizeInto({Codes(slot.hf_name), slot.first_row, slot.shape[0]}, *slot.tensor);
      return;
    }
    const torch::Tensor values = Values(slot.hf_name).narrow(0, slot.first_row, slot.shape[0]);
    if (values.scalar_type() == dtype_ && !slot.is_vector()) {
      *slot.tensor = values;  // read where it lies
      return;
    }
    *slot.tensor = AllocateSlot(slot, dtype_);
    slot.tensor->copy_(values);
    if (add_one) slot.tensor->add_(1);
  }

 private:
  torch::Tensor Values(const std::string& name) const {
    const TensorView& view = checkpoint_.tensors.at(name);
    const auto& file = checkpoint_.file_of.at(name);
    return StoredValues(view, TorchType(view, name, file->path()), file);
  }

  // Of a whole tensor; slots that are parts of one follow each other and share it.
  std::shared_ptr<const MatrixCodes> Codes(const std::string& name) {
    if (name == last_name_) return last_;
    last_name_ = name;
    const auto it = quantised_.find(name);
    last_ = it != quantised_.end() ? ReadBitsAndBytes(checkpoint_.tensors, name, it->second, origin_)
                                   : QuantizeFor(storage_, Values(name).to(torch::kFloat), name);
    return last_;
  }

  const Checkpoint& checkpoint_;
  const QuantisedMatrices& quantised_;
  torch::Dtype dtype_;
  WeightStorage storage_;
  std::string origin_, last_name_;
  std::shared_ptr<const MatrixCodes> last_;
};

void RefuseSecondQuantisation(const QuantisedMatrices& quantised, const std::string& origin) {
  if (quantised.empty()) return;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: {} is quantised already; use keep to hold it in its own codes", origin,
                          quantised.begin()->first));
}

}  // namespace

ModelWeights LoadHuggingFaceWeights(const std::filesystem::path& directory, torch::Dtype dtype,
                                    WeightStorage storage, const CodesFile* codes) {
  const fs::path config_path = directory / "config.json";
  if (!fs::exists(config_path)) {
    throw Error(ErrorKind::kNotFound,
                fmt::format("{} is missing; give a model's directory or a .gguf file", config_path.string()));
  }
  ModelWeights weights;
  weights.config = ModelConfig::FromHuggingFace(ReadJsonFile(config_path), config_path.string());
  const Checkpoint checkpoint = OpenCheckpoint(directory);
  const std::vector<TensorSlot> slots = ListTensors(weights);
  const QuantisedMatrices quantised = FindBitsAndBytes(checkpoint.tensors, directory.string());
  Check(checkpoint, quantised, slots, weights.config, directory.string());
  if (storage != WeightStorage::kDense && storage != WeightStorage::kKeep) RefuseSecondQuantisation(quantised, directory.string());
  weights.fingerprint = CheckpointFingerprint(checkpoint);
  const torch::NoGradGuard no_grad;
  SlotFiller filler(checkpoint, quantised, dtype, storage, directory.string());
  for (const TensorSlot& slot : slots) {
    if (codes != nullptr && slot.codes != nullptr) {
      *slot.codes = codes->Rows(slot);
    } else {
      filler.Fill(slot, slot.is_norm && weights.config.norm_adds_one);
    }
  }
  if (weights.config.tied_embeddings) weights.head = weights.embedding;
  weights.origin = directory.string();
  return weights;
}

void RefuseQuantisedCheckpoint(const std::filesystem::path& directory) {
  const Checkpoint checkpoint = OpenCheckpoint(directory);
  RefuseSecondQuantisation(FindBitsAndBytes(checkpoint.tensors, directory.string()), directory.string());
}

}  // namespace elrea
