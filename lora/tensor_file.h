// f32 tensors to and from safetensors files.
#pragma once

#include <torch/types.h>

#include <map>
#include <string>
#include <vector>

#include "core/safetensors.h"

namespace elrea {

// Named tensors (any of f32, bf16, i64; made contiguous on the CPU) written atomically with a checksum.
void SaveTensors(const fs::path& path, const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                 const std::map<std::string, std::string>& metadata = {});

// A copy of one tensor as f32. kCorrupt naming file and tensor for an integer type.
torch::Tensor LoadFloat(const SafetensorsFile& file, const std::string& name);

}  // namespace elrea
