// adapter_config.json as PEFT writes it: which modules an adapter updates, with what rank and scale. What cannot be
// honoured is refused by name. Source: PEFT's LoraConfig and its matching of module names.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "lora/name_pattern.h"

namespace elrea {

class PeftConfig {
 public:
  // kNotFound, kCorrupt, kInvalidInput.
  explicit PeftConfig(const fs::path& path);

  // `module`: as the base model calls it, "model.layers.0.self_attn.q_proj".
  int64_t RankOf(const std::string& module) const;
  double AlphaOf(const std::string& module) const;  // such that the update's scale is alpha / rank
  // Whether the file says that the module is adapted; nothing when it does not say which are.
  std::optional<bool> Adapts(const std::string& module) const;

 private:
  template <typename T>
  using Patterns = std::vector<std::pair<NamePattern, T>>;
  // A list of names (or ends of names), or one expression.
  struct ModuleSet {
    std::vector<std::string> names;
    std::optional<NamePattern> expression;
    bool is_set = false, has_all = false;
    bool Contains(const std::string& module) const;
  };
  static ModuleSet ReadModules(const Json& config, const char* key, const std::string& origin);
  bool IsChosenLayer(const std::string& module) const;

  int64_t rank_;
  double alpha_;
  bool rank_stabilised_;
  Patterns<int64_t> ranks_;
  Patterns<double> alphas_;
  ModuleSet targets_, excluded_;
  std::vector<int64_t> layers_;  // empty: all
  std::vector<NamePattern> layer_lists_;  // what the list of layers may be called; empty: anything
};

}  // namespace elrea
