// Quantising dense matrices into the formats of bitsandbytes: with its own rounding, which gives the same bytes, or with
// codes chosen for the matrix's inputs.
#pragma once

#include <torch/types.h>

#include <memory>
#include <string>

#include "model/bitsandbytes_codes.h"
#include "model/weights.h"

namespace elrea {

// Blocks of 64 weights; with `nested` their scales again in blocks of 256 (QLoRA's double quantisation).
// values [rows, cols] f32 on the CPU, finite. Source: QLoRA (arXiv:2305.14314), section 3 and appendix E.
std::shared_ptr<const FourBitCodes> QuantizeNf4(const torch::Tensor& values, bool nested);

// The same format with the codes that change the products with inputs x least (model/gptq.h), given the sum of x x^T,
// `moments` [cols, cols] f32.
std::shared_ptr<const FourBitCodes> QuantizeNf4(const torch::Tensor& values, bool nested, const torch::Tensor& moments);

// Rows scaled to their largest magnitude (LLM.int8()'s weights, arXiv:2208.07339). values as above.
std::shared_ptr<const EightBitCodes> QuantizeInt8(const torch::Tensor& values);

// values [out, in] f32 in the codes that `storage` asks for: one of those that quantise. kCorrupt naming the tensor for
// values that are not finite.
std::shared_ptr<const MatrixCodes> QuantizeFor(WeightStorage storage, const torch::Tensor& values,
                                               const std::string& name);

}  // namespace elrea
