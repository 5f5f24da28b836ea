// What a Hugging Face tokenizer.json, and the tokenizer_config.json and chat_template.jinja beside it, say
// about a tokenizer.
#pragma once

#include "core/files.h"
#include "data/tokenizer_spec.h"

namespace elrea {

// kNotFound; kCorrupt for broken JSON, missing or mistyped fields, ids out of range, merges of unknown
// pieces; kInvalidInput for models, normalisers, pre-tokenisers, decoders and post-processors we do not have. Messages
// name file and field.
TokenizerSpec ReadJsonTokenizer(const fs::path& tokenizer_json);

}  // namespace elrea
