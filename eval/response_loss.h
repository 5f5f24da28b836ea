// Loss of the reference responses under a method: the mean of -log p of the response tokens given the prompt,
// per row. For an ensemble, p is the normalised mixture that decoding samples from.
#pragma once

#include <vector>

#include "eval/evaluate.h"
#include "eval/method.h"

namespace elrea {

// [rows] nats per token; NaN for a row whose prompt and response do not fit the context. Kept in
// <method>.loss.json of the job's directory, and read from there when it exists.
std::vector<double> ResponseLosses(const EvalJob& job, const Method& method);

}  // namespace elrea
