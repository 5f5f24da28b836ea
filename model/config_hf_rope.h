// The rotary part of a Hugging Face config.json, in the spellings of transformers 4 (rope_theta, rope_scaling) and 5
// (rope_parameters).
#pragma once

#include <string>

#include "core/json.h"
#include "model/family.h"

namespace elrea {

// Fills c.rope_theta, rope_theta_local and rope_scaling, and shortens c.context_length where longer texts would rotate
// by other frequencies (longrope). REQUIRES: c.context_length. kInvalidInput for kinds and keys that are not known.
void ReadHuggingFaceRope(const Json& config, const std::string& origin, const Family& family, ModelConfig& c);

}  // namespace elrea
