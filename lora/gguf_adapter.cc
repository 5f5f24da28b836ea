#include "lora/gguf_adapter.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "core/error.h"
#include "core/gguf.h"
#include "core/gguf_builder.h"
#include "lora/adapter_assembly.h"
#include "model/dequantize.h"
#include "model/family.h"
#include "model/gguf_weights.h"
#include "model/tensor_table.h"

namespace elrea {

using torch::Tensor;

namespace {

constexpr const char* kFingerprintKey = "elrea.base_fingerprint";

// What a module's matrix is called in GGUF, and the heads in whose rows it is interleaved (0: as is).
struct GgufModule {
  std::string name;  // "blk.0.attn_q.weight"
  int64_t interleaved_heads;
};

// The modules of a backbone by (layer, projection).
class ModuleNames {
 public:
  explicit ModuleNames(const ModelConfig& model) {
    weights_.config = model;
    for (const TensorSlot& slot : ListTensors(weights_)) slots_.emplace(slot.tensor, slot);
  }
  GgufModule Find(int64_t layer, Projection p) const {
    const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
    const Tensor* const places[] = {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down, &w.q, &w.gate};
    const TensorSlot& slot = slots_.at(places[static_cast<int>(p)]);
    return {slot.gguf_name, slot.interleaved_heads};
  }

 private:
  ModelWeights weights_;  // no tensors, only the list of them
  std::map<const Tensor*, TensorSlot> slots_;
};

std::string Bytes(const Tensor& tensor) {
  const Tensor t = tensor.to(torch::kFloat).contiguous();
  return {static_cast<const char*>(t.data_ptr()), t.nbytes()};
}

Tensor LoadMatrix(const GgufFile& file, const std::string& name, std::vector<int64_t> expected) {
  const GgufTensor& source = file.GetTensor(name);
  if (source.shape != expected) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: tensor {} has shape [{}], expected [{}]: the adapter was made for another backbone",
                            file.path().string(), name, fmt::join(source.shape, ", "), fmt::join(expected, ", ")));
  }
  Tensor values = torch::empty(expected, torch::kFloat);
  Dequantize(source.type, source.bytes, {values.data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values;
}

void CheckHeader(const GgufFile& file, const Family& family) {
  const auto expect = [&](const char* key, const std::string& value) {
    const std::string found = file.Contains(key) ? file.GetString(key) : "missing";
    if (found == value) return;
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: \"{}\" is {}, expected {}; give a LoRA adapter of this backbone", file.path().string(), key,
                            found, value));
  };
  expect("general.type", "adapter");
  expect("adapter.type", "lora");
  expect("general.architecture", family.gguf_architecture);
}

void RefuseUnknownTensors(const GgufFile& file, const std::set<std::string>& known) {
  for (const auto& [name, tensor] : file.tensors()) {
    if (known.contains(name)) continue;
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: tensor {} has no place in this backbone", file.path().string(), name));
  }
}

}  // namespace

void SaveGgufAdapter(const std::filesystem::path& path, const Adapter& adapter, const ModelConfig& model,
                     const std::map<std::string, std::string>& metadata) {
  const Family& family = FamilyByName(model.family);
  if (family.gguf_architecture.empty()) {
    throw Error(ErrorKind::kInvalidInput, fmt::format("GGUF has no form of its own for the family {}", model.family));
  }
  GgufBuilder file;
  file.SetString("general.type", "adapter")
      .SetString("general.architecture", family.gguf_architecture)
      .SetString("adapter.type", "lora")
      .SetFloat("adapter.lora.alpha", static_cast<float>(adapter.config.alpha))
      .SetString(kFingerprintKey, adapter.base_fingerprint);
  for (const auto& [key, value] : metadata) file.SetString(key, value);
  const AdapterLayout layout(model, adapter.config);
  const ModuleNames names(model);
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      const auto id = static_cast<LinearGroup>(g);
      const auto& slots = layout.group(layer, id).slots;
      for (size_t s = 0; s < slots.size(); ++s) {
        const GgufModule module = names.Find(layer, slots[s].projection);
        const Tensor a = layout.A(adapter.params, layer, id, s), b = layout.B(adapter.params, layer, id, s);
        Tensor stored = torch::empty_like(b);
        stored.index_copy_(0, GgufSourceRows(b.size(0), module.interleaved_heads), b);
        file.AddTensor(module.name + ".lora_a", GgmlType::kF32, a.sizes().vec(), Bytes(a));
        file.AddTensor(module.name + ".lora_b", GgmlType::kF32, b.sizes().vec(), Bytes(stored));
      }
    }
  }
  file.Write(path);
}

Adapter LoadGgufAdapter(const std::filesystem::path& path, const ModelConfig& model) {
  const GgufFile file(path);
  CheckHeader(file, FamilyByName(model.family));
  const double alpha = file.GetDouble("adapter.lora.alpha");
  const ModuleNames names(model);
  std::vector<ModuleUpdate> updates;
  std::set<std::string> known;
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      for (Projection p : GroupMembers(model, static_cast<LinearGroup>(g))) {
        const GgufModule module = names.Find(layer, p);
        const std::string a = module.name + ".lora_a", b = module.name + ".lora_b";
        if (file.tensors().count(a) + file.tensors().count(b) == 0) continue;
        const std::vector<int64_t>& shape = file.GetTensor(a).shape;
        const int64_t rank = shape.empty() ? 0 : shape[0], out = ProjectionOut(model, p);
        if (rank < 1) throw Error(ErrorKind::kCorrupt, fmt::format("{}: tensor {} has no rank", path.string(), a));
        const Tensor stored = LoadMatrix(file, b, {out, rank});
        updates.push_back({layer, p, LoadMatrix(file, a, {rank, ProjectionIn(model, p)}),
                           stored.index_select(0, GgufSourceRows(out, module.interleaved_heads)),
                           alpha == 0 ? static_cast<double>(rank) : alpha});  // as llama.cpp: no alpha is scale 1
        known.insert({a, b});
      }
    }
  }
  RefuseUnknownTensors(file, known);
  if (updates.empty()) throw Error(ErrorKind::kInvalidInput, path.string() + " holds no adapter tensor");
  Adapter adapter = AssembleAdapter(updates, model);
  if (!at::isfinite(adapter.params).all().item<bool>()) {
    throw Error(ErrorKind::kCorrupt, path.string() + ": an adapter weight is not finite");
  }
  if (file.Contains(kFingerprintKey)) adapter.base_fingerprint = file.GetString(kFingerprintKey);
  return adapter;
}

}  // namespace elrea
