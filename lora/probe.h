// The proof that a conversion of an adapter or a model carries: logits of fixed token sequences before and after. What
// was compared, and how far it agreed, is recorded in the file that was written.
#pragma once

#include <torch/types.h>

#include <vector>

#include "core/json.h"
#include "lora/adapter.h"
#include "model/decoder.h"

namespace elrea {

// The sequences, the same for every model of a vocabulary.
std::vector<std::vector<int32_t>> ProbeTokens(int64_t vocab);

// Logits [tokens of all sequences, vocab] f32 of the backbone with the updates of all `adapters` added up, each times its
// weight.
torch::Tensor ProbeLogits(const Decoder& decoder, const std::vector<Adapter>& adapters = {},
                          const std::vector<double>& weights = {});

struct ProbeAgreement {
  double max_difference = 0;  // of any logit
  double mean_kl = 0;         // of the next-token distributions, nats: sum p_before log(p_before / p_after)
  double largest_logit = 0;
};
ProbeAgreement CompareProbes(const torch::Tensor& before, const torch::Tensor& after);

// kInvalidInput naming `what` when a logit differs by more than `tolerance`, or is not finite.
void RequireAgreement(const ProbeAgreement& agreement, double tolerance, const std::string& what);

// {"compared", "tokens": [[...]], "max_logit_difference", "mean_kl_nats", "tolerance", "backbone"}; tolerance 0: not bounded.
Json ProbeRecord(const std::string& compared, const ProbeAgreement& agreement, double tolerance, const Decoder& decoder);

}  // namespace elrea
