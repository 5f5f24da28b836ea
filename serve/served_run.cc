#include "serve/served_run.h"

#include <fmt/format.h>

#include "core/text.h"
#include "serve/api_error.h"

namespace elrea {

const char* TargetName(Target::Kind kind) {
  switch (kind) {
    case Target::Kind::kBase: return "base";
    case Target::Kind::kExpert: return "expert";
    case Target::Kind::kBackbone: return "backbone";
    default: return "ensemble";
  }
}

namespace {

std::vector<ModelChoice> ModelsOf(const std::shared_ptr<const ServedRun>& run) {
  using Kind = Target::Kind;
  std::vector<ModelChoice> models = {{run, {Kind::kEnsemble}, run->name}};
  models.push_back({run, {Kind::kBase}, run->name + "/base"});
  for (int64_t c = 0; c < run->ensemble->bank().num_experts(); ++c) {
    models.push_back({run, {Kind::kExpert, c}, fmt::format("{}/expert-{}", run->name, c)});
  }
  models.push_back({run, {Kind::kBackbone}, run->name + "/backbone"});
  return models;
}

}  // namespace

bool RunRegistry::Put(std::shared_ptr<const ServedRun> run) {
  const std::lock_guard lock(mutex_);
  const auto old = runs_.find(run->name);
  const bool replaces = old != runs_.end();
  if (replaces) old->second->retired = true;
  const std::string name = run->name;
  runs_[name] = std::move(run);
  return replaces;
}

bool RunRegistry::Remove(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = runs_.find(name);
  if (found == runs_.end()) return false;
  found->second->retired = true;
  runs_.erase(found);
  return true;
}

std::vector<std::shared_ptr<const ServedRun>> RunRegistry::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const ServedRun>> all;
  for (const auto& [name, run] : runs_) all.push_back(run);
  return all;
}

std::shared_ptr<const ServedRun> RunRegistry::Find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = runs_.find(name);
  return found == runs_.end() ? nullptr : found->second;
}

std::vector<ModelChoice> RunRegistry::Models() const {
  std::vector<ModelChoice> models;
  for (const auto& run : All()) {
    for (ModelChoice& model : ModelsOf(run)) models.push_back(std::move(model));
  }
  return models;
}

ModelChoice RunRegistry::Resolve(const std::string& id) const {
  const auto runs = All();
  if (id.empty() && runs.size() == 1) return ModelsOf(runs[0])[0];
  if (id.empty()) throw ApiError(400, "several runs are served: say in `model` which; GET /v1/models lists them", "model");
  std::vector<std::string> names;
  for (ModelChoice& model : Models()) {
    if (model.id == id) return model;
    names.push_back(model.id);
  }
  const auto nearest = NearestName(id.substr(0, 256), names);
  throw ApiError(404,
                 fmt::format("there is no model {}; {}", ReplaceInvalidUtf8(id.substr(0, 256)),
                             nearest ? "did you mean " + *nearest + "?" : "GET /v1/models lists them"),
                 "model", "model_not_found");
}

}  // namespace elrea
