// How much the members of a mixture disagree about the next token: the mutual information between the token and the
// member that gives it, each member drawn with its share of the weight,
//
//   I = H(sum_k w_k p_k) - sum_k w_k H(p_k),   p_k = softmax(logits_k),   0 <= I <= H(w),
//
// the part of the uncertainty that comes from not knowing whom to believe (as in BALD, Houlsby et al. 2011).
#pragma once

#include <span>

namespace elrea {

// In nats. logits[k] [vocab] f32 of each member; `weights` [members], not negative, sum above 0: they are normalised
// here. Zero for one member.
double MutualInformation(std::span<const std::span<const float>> logits, std::span<const double> weights);

}  // namespace elrea
