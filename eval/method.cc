#include "eval/method.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"

namespace elrea {
namespace {

std::vector<MixtureMember> BackboneMembers(const ExpertBank&, const Routing&) { return {{nullptr, 1.0}}; }
std::vector<MixtureMember> BaseMembers(const ExpertBank& bank, const Routing&) {
  return {{bank.base(), 1.0}};
}
std::vector<MixtureMember> EnsembleMembers(const ExpertBank& bank, const Routing& routing) {
  return bank.Members(routing);
}

}  // namespace

const std::vector<Method>& Methods() {
  static const std::vector<Method> methods = {
      {"backbone", "the model without any adapter", MethodNeeds::kBackbone, "", false, BackboneMembers},
      {"base", "the adapter trained on all rows", MethodNeeds::kBase, "backbone", false, BaseMembers},
      {"ensemble", "base and cluster experts, weighed for each request", MethodNeeds::kExperts, "base", true,
       EnsembleMembers},
  };
  return methods;
}

std::vector<std::string> MethodNames() {
  std::vector<std::string> names;
  for (const Method& method : Methods()) names.push_back(method.name);
  return names;
}

const Method& FindMethod(const std::string& name) {
  for (const Method& method : Methods()) {
    if (method.name == name) return method;
  }
  const auto nearest = NearestName(name, MethodNames());
  throw Error(ErrorKind::kInvalidInput, fmt::format("unknown method {}; {}", name,
                                                    nearest ? "did you mean " + *nearest + "?"
                                                            : "one of " + Join(MethodNames(), ", ")));
}

MethodPlan PlanMethod(const Method& method, Ensemble& ensemble,
                      const std::vector<std::span<const int32_t>>& prompts, PrefixCache* read) {
  MethodPlan plan;
  if (method.routed) plan.routings = ensemble.RouteBatch(prompts, nullptr, read);
  for (size_t i = 0; i < prompts.size(); ++i) {
    plan.members.push_back(method.members(ensemble.bank(), method.routed ? plan.routings[i] : Routing{}));
  }
  return plan;
}

Planner PlannerOf(const Method& method, Ensemble& ensemble, std::span<const EvalRow> rows) {
  return [&method, &ensemble, rows](std::span<const int64_t> asked) {
    std::vector<std::span<const int32_t>> prompts;
    for (int64_t row : asked) prompts.emplace_back(rows[static_cast<size_t>(row)].prompt);
    MethodPlan made = PlanMethod(method, ensemble, prompts);
    std::vector<RowPlan> plans(asked.size());
    for (size_t i = 0; i < asked.size(); ++i) {
      plans[i].members = std::move(made.members[i]);
      if (!method.routed) continue;
      plans[i].base_weight = made.routings[i].base_weight;
      plans[i].expert_weights = made.routings[i].weights;
    }
    return plans;
  };
}

}  // namespace elrea
