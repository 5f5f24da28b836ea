// What a loader must find out to make a tokenizer: the steps that all kinds share, and the rules of the one
// model that turns a piece of text into tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "data/bpe_vocabulary.h"
#include "data/pretokenizer.h"
#include "data/tokenizer_added.h"
#include "data/tokenizer_decoder.h"
#include "data/tokenizer_normalizer.h"

namespace elrea {

struct BpeMergeRule {
  int32_t left, right, merged;
  uint32_t rank;  // the lowest goes first; of equal ones the leftmost in the text
};

// Byte-pair encoding. Byte-level: the bytes of each piece are merged (GPT-2, Llama 3, Qwen, SmolLM).
// Otherwise its characters are; unknown ones fall back to byte tokens where there are such (Gemma, Llama 2).
struct BpeRules {
  std::vector<BpeMergeRule> merges;
  bool byte_level = false;        // pieces are spelled in the byte alphabet
  bool byte_fallback = false;     // unknown characters become "<0xNN>" tokens
  bool ignore_merges = false;     // a piece that is in the vocabulary is not merged up to
  bool fuse_unknown = false;      // neighbouring unknown characters become one unknown token
  std::string continuing_prefix;  // of the pieces of all characters of a word but its first
  std::string word_suffix;        // of the piece of a word's last character
};

// Greedy longest match from the left (BERT).
struct WordPieceRules {
  std::string continuing_prefix = "##";  // of every token but a word's first
  int64_t max_word_chars = 100;          // a longer word is unknown as a whole
};

// A unigram language model. `sentencepiece`: by the rules and in the precision of that library, else by those
// of `tokenizers`, where a run of unknown characters is looked for in the vocabulary as a whole.
struct UnigramRules {
  enum class Kind : uint8_t {
    kNormal,
    kUserDefined,  // scored so that it is nearly always taken
    kNoMatch,      // no text is this token: control, unknown, byte and unused ones
  };
  struct Piece {
    double score = 0;  // logarithm of its probability
    Kind kind = Kind::kNormal;
  };
  std::vector<Piece> pieces;  // by token; added tokens behind them have none
  bool byte_fallback = false;
  bool sentencepiece = false;
};

using ModelRules = std::variant<BpeRules, WordPieceRules, UnigramRules>;

// Everything about one model's tokenizer. Ids are in range; every piece is valid UTF-8.
struct TokenizerSpec {
  Vocabulary vocabulary;  // as the file spells it
  ModelRules model;
  std::vector<AddedToken> added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  TokenDecoder decoder;
  std::optional<int32_t> unknown, bos, eos;
  bool add_bos = false;
  std::vector<int32_t> prefix, suffix;  // what the file's post-processor puts around one text
  std::string chat_template;
};

}  // namespace elrea
