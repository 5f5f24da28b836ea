// An adapter added into the matrices of its backbone: W + alpha / rank B A, in f32.
#pragma once

#include <map>
#include <string>

#include "lora/adapter.h"
#include "model/weights.h"

namespace elrea {

enum class CheckpointFormat { kHuggingFace, kGguf };

// The matrices that the adapter changes, [rows, in] f32, by their name and in the row order of the format's files.
// `weights`: as loaded, f32; changed in place. kInvalidInput for another backbone's adapter.
std::map<std::string, torch::Tensor> FoldAdapter(ModelWeights& weights, const Adapter& adapter, CheckpointFormat format);

}  // namespace elrea
