#include "lora/adapter_file.h"

#include <ATen/ATen.h>
#include <fmt/format.h>


#include <cmath>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "lora/tensor_file.h"

namespace elrea {

using torch::Tensor;

namespace {

std::string ModuleName(int64_t layer, Projection p) {
  bool attention = p == Projection::kQ || p == Projection::kK || p == Projection::kV || p == Projection::kO ||
                   p == Projection::kQkv;
  return fmt::format("base_model.model.model.layers.{}.{}.{}", layer, attention ? "self_attn" : "mlp",
                     ProjectionName(p));
}

void RefuseUnsupported(const Json& config, const std::string& origin) {
  auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::kInvalidInput, fmt::format("{}: {} is not supported", origin, what));
  };
  if (config.value("peft_type", "LORA") != "LORA") refuse("peft_type " + config["peft_type"].dump());
  for (const char* flag : {"use_dora", "use_qalora", "fan_in_fan_out"}) {
    if (config.contains(flag) && config[flag].is_boolean() && config[flag].get<bool>()) refuse(flag);
  }
  for (const char* key : {"rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform", "trainable_token_indices"}) {
    if (config.contains(key) && !config[key].is_null() && !config[key].empty()) refuse(key);
  }
  if (config.contains("bias") && config["bias"].is_string() && config["bias"] != "none") refuse("a trained bias");
}

AdapterConfig ReadConfig(const fs::path& path) {
  std::string origin = path.string();
  Json json = ReadJsonFile(path);
  if (!json.is_object()) throw Error(ErrorKind::kCorrupt, origin + ": expected a JSON object");
  RefuseUnsupported(json, origin);
  AdapterConfig config;
  config.rank = JsonField<int64_t>(json, "r", origin);
  config.alpha = JsonField<double>(json, "lora_alpha", origin);
  if (config.rank < 1 || config.rank > 4096) {
    throw Error(ErrorKind::kCorrupt, fmt::format("{}: r = {} is not a rank", origin, config.rank));
  }
  // rsLoRA scales by alpha / sqrt(r): the same adapter with another alpha.
  if (JsonFieldOr<bool>(json, "use_rslora", false, origin)) config.alpha *= std::sqrt(static_cast<double>(config.rank));
  return config;
}

// Which projections the file adapts, from its tensor names; every layer must have the same ones.
std::array<bool, kNumProjections> FindTargets(const SafetensorsFile& file) {
  std::array<bool, kNumProjections> targets{};
  for (Projection p : kAllProjections) targets[static_cast<int>(p)] = file.Contains(ModuleName(0, p) + ".lora_A.weight");
  CompleteTargets(targets);
  return targets;
}

void CheckShape(const SafetensorsFile& file, const std::string& name, const Tensor& expected) {
  const TensorView& view = file.Get(name);
  if (torch::IntArrayRef(view.shape) == expected.sizes()) return;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: tensor {} has shape [{}], expected [{}]: the adapter was made for another backbone or rank",
                          file.path().string(), name, fmt::join(view.shape, ", "), fmt::join(expected.sizes().vec(), ", ")));
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

void SaveAdapter(const std::filesystem::path& directory, const Adapter& adapter, const ModelConfig& model,
                 const std::string& base_model) {
  AdapterLayout layout(model, adapter.config);
  std::vector<std::pair<std::string, Tensor>> tensors;
  ForEachAdapterMatrix(layout, adapter.params, [&](const std::string& name, const Tensor& view) { tensors.emplace_back(name, view); });
  SaveTensors(directory / "adapter_model.safetensors", tensors,
              {{"format", "pt"}, {"elrea.base_fingerprint", adapter.base_fingerprint}});
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
  Adapter adapter{ReadConfig(directory / "adapter_config.json"), {}, ""};
  SafetensorsFile file(directory / "adapter_model.safetensors");
  VerifySafetensors(file);
  adapter.config.targets = FindTargets(file);
  AdapterLayout layout(model, adapter.config);
  if (layout.num_params() == 0) {
    throw Error(ErrorKind::kInvalidInput,
                file.path().string() + ": no adapter tensor for layer 0; expected names like " +
                    ModuleName(0, Projection::kQ) + ".lora_A.weight");
  }
  adapter.params = torch::zeros({layout.num_params()}, torch::kFloat);
  std::set<std::string> known;
  ForEachAdapterMatrix(layout, adapter.params, [&](const std::string& name, const Tensor& view) {
    CheckShape(file, name, view);
    view.copy_(LoadFloat(file, name));
    known.insert(name);
  });
  for (const auto& [name, view] : file.tensors()) {
    if (known.count(name)) continue;
    throw Error(ErrorKind::kInvalidInput, fmt::format("{}: tensor {} has no place in this backbone ({} layers)",
                                                      file.path().string(), name, model.layers));
  }
  if (!at::isfinite(adapter.params).all().item<bool>()) {
    throw Error(ErrorKind::kCorrupt, file.path().string() + ": an adapter weight is not finite");
  }
  auto fingerprint = file.metadata().find("elrea.base_fingerprint");
  if (fingerprint != file.metadata().end()) adapter.base_fingerprint = fingerprint->second;
  return adapter;
}

}  // namespace elrea
