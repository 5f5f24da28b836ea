// A Hugging Face directory quantised as bitsandbytes would save it, for transformers and for ourselves.
#pragma once

#include <filesystem>

#include "model/weights.h"

namespace elrea {

// Writes a copy of `source` to the folder `target` with the layers' matrices in the codes of `storage` (one of those
// that quantise) and a quantization_config in config.json; the vocabulary's matrices, norms and biases stay as they
// are. Matrices that share one stored tensor are quantised as one. Returns the model of the codes that were written, as
// LoadModelWeights gives it in f32 with `storage`. codes: a file of calibrated codes, or empty for the nearest. Errors as of LoadModelWeights; kInvalidInput for a GGUF file or a
// checkpoint that is quantised already.
ModelWeights QuantizeCheckpoint(const std::filesystem::path& source, const std::filesystem::path& target,
                                WeightStorage storage, const std::filesystem::path& codes = {});

}  // namespace elrea
