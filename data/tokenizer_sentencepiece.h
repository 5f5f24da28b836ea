// The tokenizer of a SentencePiece model: BPE or unigram.
#pragma once

#include "core/files.h"
#include "data/sentencepiece_file.h"
#include "data/tokenizer_spec.h"

namespace elrea {

// A tokenizer.model and what is beside it: tokenizer_config.json names the tokens that begin and end a text,
// whether the first is added, further tokens and the chat template. Where it does not, the model's own bos
// and eos pieces are taken, and texts begin with the former if the model is BPE, as Llama, Mistral and Gemma
// have it. Errors as ReadSentencePieceFile and MakeSentencePieceSpec.
TokenizerSpec ReadSentencePieceTokenizer(const fs::path& tokenizer_model);

// Control pieces are special tokens. kCorrupt, naming the file and the piece: no or two unknown pieces, equal
// pieces, byte pieces missing with byte_fallback, or a damaged charsmap. kInvalidInput for models of words or
// characters, and for what BPE models never have: unused pieces, and pieces with characters that are no
// pieces.
TokenizerSpec MakeSentencePieceSpec(const SentencePieceModel& model);

}  // namespace elrea
