// The ways of answering that an evaluation compares, as data. A method is the adapters it needs and a rule
// that weighs them for one request; all answer through the same generator. A further one is one more entry in
// Methods().
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ensemble/ensemble.h"
#include "eval/answer_rows.h"

namespace elrea {

// What must have been trained for a method; each includes those before it.
enum class MethodNeeds { kBackbone, kBase, kExperts };

struct Method {
  std::string name;  // as in --method and eval.methods
  std::string help;
  MethodNeeds needs;
  std::string compare_with;  // the method a report compares it with, row by row; empty: none
  bool routed;               // whether the members depend on the request's routing
  // `routing` has no weights when `routed` is false.
  std::vector<MixtureMember> (*members)(const ExpertBank& bank, const Routing& routing);
};

const std::vector<Method>& Methods();
std::vector<std::string> MethodNames();
// kInvalidInput naming the nearest method.
const Method& FindMethod(const std::string& name);

// Who answers each prompt, and why. `routings` stays empty for a method that is not routed.
struct MethodPlan {
  std::vector<std::vector<MixtureMember>> members;
  std::vector<Routing> routings;
};
// `read`: as of Ensemble::Features.
MethodPlan PlanMethod(const Method& method, Ensemble& ensemble,
                      const std::vector<std::span<const int32_t>>& prompts, PrefixCache* read = nullptr);

// The method as AnswerRows takes it; `ensemble` and `rows` must outlive the planner.
Planner PlannerOf(const Method& method, Ensemble& ensemble, std::span<const EvalRow> rows);

}  // namespace elrea
