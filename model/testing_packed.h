// A tiny model in quantised blocks of several types, as a GGUF file that the decode engine serves. For tests.
#pragma once

#include <filesystem>

#include "model/config.h"

namespace elrea {

// The smallest Llama that the engine serves.
ModelConfig SmallLlama();

// Random blocks of Q4_1, Q8_0, Q5_0, Q5_1 and Q4_0, which may stand side by side in one file.
void WriteMixedGguf(const ModelConfig& config, const std::filesystem::path& path);

}  // namespace elrea
