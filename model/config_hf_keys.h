// Which keys a Hugging Face config.json may have: those the loader reads, and those that say nothing about the numbers of
// a forward pass. Anything else may change what the model computes and is refused rather than passed over.
#pragma once

#include <string>

#include "core/json.h"
#include "model/family.h"

namespace elrea {

// Throws kInvalidInput: `"key" is VALUE, which is not supported; use a model with SUPPORTED`.
[[noreturn]] void RefuseConfigValue(const std::string& origin, const std::string& key, const std::string& value,
                                    const std::string& supported);

// Present and not null.
bool IsSetInConfig(const Json& config, const char* key);

// kInvalidInput naming the first key that is neither known for the family nor switched off (null, false, 0, empty).
void RefuseUnknownKeys(const Json& config, const std::string& origin, const Family& family);

}  // namespace elrea
