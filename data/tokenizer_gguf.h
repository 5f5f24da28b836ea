// What a GGUF file's tokenizer.* metadata say about its tokenizer.
#pragma once

#include "core/gguf.h"
#include "data/tokenizer_spec.h"

namespace elrea {

// kCorrupt for missing or ill-matched fields and ids out of range, kInvalidInput for kinds of tokenizer other
// than byte-level BPE and SentencePiece's BPE and unigram, or an unknown pre-tokeniser. Messages name the
// file and the key.
TokenizerSpec ReadGgufTokenizer(const GgufFile& file);

// The merges that a vocabulary of scored pieces implies: every way to put a piece together from two others,
// best score first; of equal scores the longer left part first, then by id. `score`: [vocab].
std::vector<BpeMergeRule> DeriveMerges(const Vocabulary& vocabulary, const std::vector<double>& score);

}  // namespace elrea
