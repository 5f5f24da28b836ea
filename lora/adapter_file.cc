#include "lora/adapter_file.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <map>
#include <memory>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "lora/adapter_assembly.h"
#include "lora/gguf_adapter.h"
#include "lora/peft_config.h"
#include "lora/tensor_file.h"
#include "model/pickle.h"

namespace elrea {

using torch::Tensor;

namespace {

std::string ModuleName(int64_t layer, Projection p) {
  bool attention = p == Projection::kQ || p == Projection::kK || p == Projection::kV || p == Projection::kO ||
                   p == Projection::kQkv;
  return fmt::format("base_model.model.model.layers.{}.{}.{}", layer, attention ? "self_attn" : "mlp",
                     ProjectionName(p));
}

constexpr const char* kSingleFile = "adapter_model.safetensors";
constexpr const char* kIndexFile = "adapter_model.safetensors.index.json";
constexpr const char* kModulePrefix = "base_model.model.";

// All tensors of an adapter, in one file or in shards.
class AdapterTensors {
 public:
  explicit AdapterTensors(const fs::path& directory) {
    if (fs::exists(directory / kIndexFile)) {
      OpenShards(directory);
      return;
    }
    if (!fs::exists(directory / kSingleFile)) RefusePickledAdapter(directory);
    Open(directory / kSingleFile);
  }

  const std::map<std::string, const SafetensorsFile*>& file_of() const { return file_of_; }
  bool Contains(const std::string& name) const { return file_of_.contains(name); }
  Tensor Load(const std::string& name) const { return LoadFloat(*file_of_.at(name), name); }
  const std::vector<int64_t>& shape(const std::string& name) const { return file_of_.at(name)->Get(name).shape; }
  const fs::path& path() const { return files_.front()->path(); }
  std::string Metadata(const std::string& key) const {
    const auto it = files_.front()->metadata().find(key);
    return it == files_.front()->metadata().end() ? "" : it->second;
  }

 private:
  void Open(const fs::path& path) {
    files_.push_back(std::make_unique<SafetensorsFile>(path));
    VerifySafetensors(*files_.back());
    for (const auto& [name, view] : files_.back()->tensors()) {
      if (file_of_.emplace(name, files_.back().get()).second) continue;
      throw Error(ErrorKind::kCorrupt, fmt::format("{}: tensor {} is in another shard too; take the files again",
                                                   path.string(), name));
    }
  }
  void OpenShards(const fs::path& directory) {
    const fs::path index = directory / kIndexFile;
    const Json map = JsonField<Json>(ReadJsonFile(index), "weight_map", index.string());
    std::set<std::string> shards;
    for (const auto& [name, file] : map.items()) {
      const std::string shard = file.is_string() ? file.get<std::string>() : "";
      if (shard.empty() || fs::path(shard).filename() != fs::path(shard)) {
        throw Error(ErrorKind::kCorrupt, fmt::format("{}: weight_map[\"{}\"] is {}, not the name of a file beside it; "
                                                     "take the file again",
                                                     index.string(), name, JsonLine(file)));
      }
      shards.insert(shard);
    }
    if (shards.empty()) throw Error(ErrorKind::kCorrupt, index.string() + " lists no tensors; take the file again");
    for (const std::string& shard : shards) Open(directory / shard);
    for (const auto& [name, file] : map.items()) {
      if (Contains(name)) continue;
      throw Error(ErrorKind::kCorrupt, fmt::format("{}: {} is not where {} says it is; take the files again",
                                                   directory.string(), name, kIndexFile));
    }
  }

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, const SafetensorsFile*> file_of_;
};

void CheckShape(const AdapterTensors& tensors, const std::string& name, std::vector<int64_t> expected) {
  const std::vector<int64_t>& shape = tensors.shape(name);
  if (shape == expected) return;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: tensor {} has shape [{}], expected [{}]: the adapter was made for another backbone or rank",
                          tensors.path().string(), name, fmt::join(shape, ", "), fmt::join(expected, ", ")));
}

// The update of one module, or nothing when the adapter has none; both files must agree on that.
std::optional<ModuleUpdate> ReadModule(const AdapterTensors& tensors, const PeftConfig& config, const ModelConfig& model,
                                       int64_t layer, Projection p) {
  const std::string name = ModuleName(layer, p), module = name.substr(std::string(kModulePrefix).size());
  const std::string a = name + ".lora_A.weight", b = name + ".lora_B.weight";
  const bool has_a = tensors.Contains(a), has_b = tensors.Contains(b);
  const bool expected = config.Adapts(module).value_or(has_a || has_b);
  if (!expected && !has_a && !has_b) return std::nullopt;
  if (!expected) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: tensor {} is there, but adapter_config.json does not adapt {}; correct one of them",
                            tensors.path().string(), has_a ? a : b, module));
  }
  if (!has_a || !has_b) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: tensor {} is missing, though adapter_config.json adapts {}; take the files again",
                            tensors.path().string(), has_a ? b : a, module));
  }
  const int64_t rank = config.RankOf(module);
  CheckShape(tensors, a, {rank, ProjectionIn(model, p)});
  CheckShape(tensors, b, {ProjectionOut(model, p), rank});
  return ModuleUpdate{layer, p, tensors.Load(a), tensors.Load(b), config.AlphaOf(module)};
}

void RefuseUnknownTensors(const AdapterTensors& tensors, const std::vector<ModuleUpdate>& updates,
                          const ModelConfig& model) {
  std::set<std::string> known;
  for (const ModuleUpdate& u : updates) {
    for (const char* matrix : {".lora_A.weight", ".lora_B.weight"}) known.insert(ModuleName(u.layer, u.projection) + matrix);
  }
  for (const auto& [name, file] : tensors.file_of()) {
    if (known.contains(name)) continue;
    throw Error(ErrorKind::kInvalidInput, fmt::format("{}: tensor {} has no place in this backbone ({} layers)",
                                                      file->path().string(), name, model.layers));
  }
}

}  // namespace

void ForEachAdapterMatrix(const AdapterLayout& layout, const Tensor& flat,
                          const std::function<void(const std::string&, const Tensor&)>& visit) {
  for (int64_t layer = 0; layer < layout.num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      auto id = static_cast<LinearGroup>(g);
      const AdapterLayout::Group& group = layout.group(layer, id);
      for (size_t s = 0; s < group.slots.size(); ++s) {
        std::string module = ModuleName(layer, group.slots[s].projection);
        visit(module + ".lora_A.weight", layout.A(flat, layer, id, s));
        visit(module + ".lora_B.weight", layout.B(flat, layer, id, s));
      }
    }
  }
}

void RequireBackbone(const Adapter& adapter, const std::string& origin, const std::string& fingerprint,
                     const std::string& model) {
  if (adapter.base_fingerprint.empty() || adapter.base_fingerprint == fingerprint) return;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: trained on the backbone {}, but {} is {}; give the model it was trained on", origin,
                          adapter.base_fingerprint, model, fingerprint));
}

void SaveAdapter(const std::filesystem::path& directory, const Adapter& adapter, const ModelConfig& model,
                 const std::string& base_model, const std::map<std::string, std::string>& metadata) {
  AdapterLayout layout(model, adapter.config);
  std::vector<std::pair<std::string, Tensor>> tensors;
  ForEachAdapterMatrix(layout, adapter.params, [&](const std::string& name, const Tensor& view) { tensors.emplace_back(name, view); });
  std::map<std::string, std::string> all_metadata = metadata;
  all_metadata["format"] = "pt";
  all_metadata["elrea.base_fingerprint"] = adapter.base_fingerprint;
  SaveTensors(directory / "adapter_model.safetensors", tensors,
              all_metadata);
  std::vector<std::string> modules;
  for (int g = 0; g < kNumLinearGroups; ++g) {
    for (Projection p : GroupMembers(model, static_cast<LinearGroup>(g))) {
      if (adapter.config.Targets(p)) modules.push_back(ProjectionName(p));
    }
  }
  WriteJsonFile(directory / "adapter_config.json", Json{{"peft_type", "LORA"},
                                                        {"task_type", "CAUSAL_LM"},
                                                        {"base_model_name_or_path", base_model},
                                                        {"r", adapter.config.rank},
                                                        {"lora_alpha", adapter.config.alpha},
                                                        {"lora_dropout", 0.0},
                                                        {"target_modules", modules},
                                                        {"bias", "none"},
                                                        {"fan_in_fan_out", false},
                                                        {"init_lora_weights", true},
                                                        {"inference_mode", true},
                                                        {"use_rslora", false},
                                                        {"use_dora", false}});
}

Adapter LoadAdapter(const std::filesystem::path& directory, const ModelConfig& model) {
  if (directory.extension() == ".gguf") return LoadGgufAdapter(directory, model);
  if (!fs::is_directory(directory)) RefusePickledAdapter(directory);
  const PeftConfig config(directory / "adapter_config.json");
  const AdapterTensors tensors(directory);
  std::vector<ModuleUpdate> updates;
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      for (Projection p : GroupMembers(model, static_cast<LinearGroup>(g))) {
        if (auto update = ReadModule(tensors, config, model, layer, p)) updates.push_back(std::move(*update));
      }
    }
  }
  RefuseUnknownTensors(tensors, updates, model);
  if (updates.empty()) {
    throw Error(ErrorKind::kInvalidInput, tensors.path().string() + ": no adapter tensor; expected names like " +
                                              ModuleName(0, GroupMembers(model, LinearGroup::kQkv).front()) + ".lora_A.weight");
  }
  Adapter adapter = AssembleAdapter(updates, model);
  if (!at::isfinite(adapter.params).all().item<bool>()) {
    throw Error(ErrorKind::kCorrupt, tensors.path().string() + ": an adapter weight is not finite");
  }
  adapter.base_fingerprint = tensors.Metadata("elrea.base_fingerprint");
  return adapter;
}

}  // namespace elrea
