// What the tokenizer_config.json and chat_template.jinja beside a tokenizer say.
#pragma once

#include "core/files.h"
#include "data/tokenizer_spec.h"

namespace elrea {

// Sets bos, eos, add_bos and the chat template where the files of `folder` name them. kCorrupt for broken
// files and for tokens that are not in the vocabulary. REQUIRES: spec.vocabulary is read.
void ReadTokenizerConfig(const fs::path& folder, TokenizerSpec& spec);

// The tokens of tokenizer_config.json's added_tokens_decoder; empty where there is none. For vocabularies
// that do not hold them themselves. kCorrupt for malformed ones.
std::vector<AddedToken> ReadConfiguredTokens(const fs::path& folder);

}  // namespace elrea
