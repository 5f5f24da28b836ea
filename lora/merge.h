// Several adapters of one backbone made into one. What of it is exact: kCat always, kSvd up to the singular values it
// drops; the others are defined on the factors A and B or on the whole updates, as in PEFT's add_weighted_adapter.
//
//   linear       A = sum sign_i sqrt|w_i s_i| A_i,  B = sum sqrt|w_i s_i| B_i      (equal ranks)
//   cat          A = [w_i s_i A_i],  B = [B_i]: the sum of the updates itself, the ranks add up
//   svd          the best approximation of rank r of sum w_i s_i B_i A_i
//   ties         per factor: keep the largest `density`, elect a sign per element, mean of those that agree (Yadav et
//                al. 2023);  ties_svd: on the whole updates, then as svd
//   dare_linear  per factor: keep a random `density`, scaled by 1 / density, then as linear (Yu et al. 2024);
//   dare_ties    the same, then signs as ties; both also _svd
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lora/adapter.h"

namespace elrea {

struct MergeOptions {
  std::string method = "cat";
  double density = 0.5;  // share that ties and dare keep, in (0, 1]
  int64_t rank = 0;      // of svd and *_svd; 0: the largest of the adapters'
  uint64_t seed = 0;     // of dare's choice
};

// The names of the methods, for help texts.
const std::vector<std::string>& MergeMethods();

// Adapters need not have the same modules. `progress` is called with (modules done, modules) and may be empty.
// kInvalidInput: no adapters, another number of weights, an unknown method, unequal ranks where they must be equal.
Adapter MergeAdapters(const std::vector<Adapter>& adapters, const std::vector<double>& weights, const ModelConfig& model,
                      const MergeOptions& options, const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace elrea
