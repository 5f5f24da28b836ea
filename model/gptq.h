// Codes chosen for what a matrix does to its inputs instead of for its own values.
#pragma once

#include <torch/types.h>

#include <array>

namespace elrea {

// Rounds `values` [out, in] f32 to map[code] * scales, one column after the other, and moves what a column's rounding does
// to the products over to the columns that are not rounded yet. Columns go in order of falling inputs; the scales do not
// change on the way. `moments` [in, in] f32: the sum over inputs x of x x^T. scales [out, in] f32, 0 where all weights of a
// block are 0; map rising. Returns codes [out, in] u8. CPU only. kCorrupt for moments that are not finite.
// Source: GPTQ (arXiv:2210.17323), algorithm 1, with its implementation's static groups and order of activations.
torch::Tensor GptqCodes(const torch::Tensor& values, const torch::Tensor& scales, const torch::Tensor& moments,
                        const std::array<float, 16>& map);

}  // namespace elrea
