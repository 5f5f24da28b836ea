#include "lora/peft_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"

namespace elrea {
namespace {

constexpr int64_t kMaxRank = 1 << 16;

[[noreturn]] void Refuse(const std::string& origin, const std::string& what, const std::string& remedy) {
  throw Error(ErrorKind::kInvalidInput, fmt::format("{}: {} is not supported; {}", origin, what, remedy));
}

bool IsSwitchedOff(const Json& value) {
  return value.is_null() || value == Json(false) || value == Json("none") ||
         ((value.is_string() || value.is_structured()) && (value.empty() || value == Json("")));
}

// Read here, or without effect on what a trained adapter computes.
const std::set<std::string>& HarmlessKeys() {
  static const std::set<std::string> keys = {
      "peft_type", "task_type", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "peft_version",
      "r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "exclude_modules", "rank_pattern",
      "alpha_pattern", "layers_to_transform", "layers_pattern", "init_lora_weights", "loftq_config", "eva_config",
      "lora_ga_config", "megatron_core", "qalora_group_size", "runtime_config", "ensure_weight_tying",
      "unsloth_version", "fan_in_fan_out", "bias"};
  return keys;
}

// Initialisations that also change the frozen matrices: the adapter alone is not the model that was trained.
void RefuseChangedBase(const Json& config, const std::string& origin) {
  const auto it = config.find("init_lora_weights");
  if (it == config.end() || !it->is_string()) return;
  const auto name = it->get<std::string>();
  if (name == "gaussian" || name == "eva" || name == "orthogonal" || name == "true" || name == "false") return;
  Refuse(origin, fmt::format("init_lora_weights \"{}\", which changes the base model's own matrices,", name),
         "save the adapter with PEFT's path_initial_model_for_weight_conversion and use that");
}

void RefuseUnsupported(const Json& config, const std::string& origin) {
  if (config.value("peft_type", Json("LORA")) != Json("LORA")) {
    Refuse(origin, "peft_type " + JsonLine(config["peft_type"]), "use a LoRA adapter");
  }
  if (config.value("use_dora", Json(false)) == Json(true)) {
    Refuse(origin, "use_dora (weight-decomposed updates)", "merge the adapter into its base model with PEFT and use that");
  }
  if (!IsSwitchedOff(config.value("modules_to_save", Json()))) {
    Refuse(origin, "modules_to_save " + JsonLine(config["modules_to_save"]),
           "these are whole modules beside the adapter: merge all into the base model with PEFT and use that");
  }
  if (!IsSwitchedOff(config.value("bias", Json()))) Refuse(origin, "a trained bias", "train with bias \"none\"");
  if (config.value("fan_in_fan_out", Json(false)) == Json(true)) {
    Refuse(origin, "fan_in_fan_out", "use an adapter of linear layers");
  }
  RefuseChangedBase(config, origin);
  for (const auto& [key, value] : config.items()) {
    if (HarmlessKeys().contains(key) || IsSwitchedOff(value)) continue;
    Refuse(origin, fmt::format("{} ({})", key, JsonExcerpt(value)), "use an adapter without it");
  }
}

std::vector<std::string> StringOrList(const Json& value, const char* key, const std::string& origin) {
  if (value.is_string()) return {value.get<std::string>()};
  return JsonField<std::vector<std::string>>(Json{{key, value}}, key, origin);
}

template <typename T>
std::vector<std::pair<NamePattern, T>> ReadPatterns(const Json& config, const char* key, const std::string& origin) {
  std::vector<std::pair<NamePattern, T>> patterns;
  const Json map = JsonFieldOr<Json>(config, key, Json::object(), origin);
  if (!map.is_object()) throw Error(ErrorKind::kCorrupt, fmt::format("{}: {} is no object; take the file again", origin, key));
  for (const auto& [pattern, value] : map.items()) {
    // As PEFT does: the expression may match the end of a name, after a dot.
    patterns.emplace_back(NamePattern("(?:.*\\.)?(?:" + pattern + ")", origin + ", " + key),
                          JsonField<T>(map, pattern.c_str(), origin + ", " + key));
  }
  return patterns;
}

template <typename T>
T FirstMatch(const std::vector<std::pair<NamePattern, T>>& patterns, const std::string& module, T usual) {
  for (const auto& [pattern, value] : patterns) {
    if (pattern.MatchesAll(module)) return value;
  }
  return usual;
}

void CheckRank(int64_t rank, const std::string& origin) {
  if (rank < 1 || rank > kMaxRank) throw Error(ErrorKind::kCorrupt, fmt::format("{}: r = {} is not a rank", origin, rank));
}

}  // namespace

PeftConfig::ModuleSet PeftConfig::ReadModules(const Json& config, const char* key, const std::string& origin) {
  ModuleSet set;
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return set;
  set.is_set = true;
  if (!it->is_string()) {
    set.names = StringOrList(*it, key, origin);
  } else if (*it == Json("all-linear")) {
    set.has_all = true;
  } else {
    set.expression.emplace(it->get<std::string>(), origin + ", " + key);
  }
  return set;
}

bool PeftConfig::ModuleSet::Contains(const std::string& module) const {
  if (has_all) return true;
  if (expression) return expression->MatchesAll(module);
  return std::ranges::any_of(names, [&](const std::string& n) { return module == n || module.ends_with("." + n); });
}

PeftConfig::PeftConfig(const fs::path& path) {
  const std::string origin = path.string();
  const Json config = ReadJsonFile(path);
  if (!config.is_object()) throw Error(ErrorKind::kCorrupt, origin + ": expected a JSON object");
  RefuseUnsupported(config, origin);
  rank_ = JsonField<int64_t>(config, "r", origin);
  CheckRank(rank_, origin);
  alpha_ = JsonField<double>(config, "lora_alpha", origin);
  rank_stabilised_ = JsonFieldOr<bool>(config, "use_rslora", false, origin);
  ranks_ = ReadPatterns<int64_t>(config, "rank_pattern", origin);
  for (const auto& [pattern, rank] : ranks_) CheckRank(rank, origin + ", rank_pattern");
  alphas_ = ReadPatterns<double>(config, "alpha_pattern", origin);
  targets_ = ReadModules(config, "target_modules", origin);
  excluded_ = ReadModules(config, "exclude_modules", origin);
  if (const auto it = config.find("layers_to_transform"); it != config.end() && !it->is_null()) {
    layers_ = it->is_array() ? JsonField<std::vector<int64_t>>(config, "layers_to_transform", origin)
                             : std::vector<int64_t>{JsonField<int64_t>(config, "layers_to_transform", origin)};
  }
  if (const auto it = config.find("layers_pattern"); it != config.end() && !IsSwitchedOff(*it)) {
    for (const std::string& name : StringOrList(*it, "layers_pattern", origin)) {
      layer_lists_.emplace_back("(?:.*\\.)?(?:" + name + ")", origin + ", layers_pattern");
    }
  }
}

int64_t PeftConfig::RankOf(const std::string& module) const { return FirstMatch(ranks_, module, rank_); }

double PeftConfig::AlphaOf(const std::string& module) const {
  const double alpha = FirstMatch(alphas_, module, alpha_);
  // Rank-stabilised LoRA scales by alpha / sqrt(r): the same with another alpha.
  return rank_stabilised_ ? alpha * std::sqrt(static_cast<double>(RankOf(module))) : alpha;
}

// The first number among the parts of the name is the layer's, the part before it the list's name.
bool PeftConfig::IsChosenLayer(const std::string& module) const {
  if (layers_.empty()) return true;
  for (size_t dot = module.find('.'); dot != std::string::npos; dot = module.find('.', dot + 1)) {
    const size_t end = module.find('.', dot + 1);
    const std::string part = module.substr(dot + 1, end - dot - 1);
    if (part.empty() || part.size() > 9 || !std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; })) continue;
    const std::string list = module.substr(0, dot);
    const bool fits = layer_lists_.empty() || std::ranges::any_of(layer_lists_, [&](const NamePattern& p) { return p.MatchesAll(list); });
    return fits && std::ranges::find(layers_, std::stoll(part)) != layers_.end();
  }
  return false;
}

std::optional<bool> PeftConfig::Adapts(const std::string& module) const {
  if (!targets_.is_set) return std::nullopt;
  if (excluded_.is_set && excluded_.Contains(module)) return false;
  if (!targets_.Contains(module)) return false;
  // An expression says it all by itself, and so does a whole name.
  if (targets_.expression || std::ranges::find(targets_.names, module) != targets_.names.end()) return true;
  return IsChosenLayer(module);
}

}  // namespace elrea
