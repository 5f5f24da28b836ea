// What a SentencePiece model holds, whichever file it comes from, and reading it from a tokenizer.model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"
#include "data/precompiled_normalizer.h"

namespace elrea {

struct SentencePieceModel {
  enum Type : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  enum Kind : int64_t { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };
  struct Piece {
    std::string text;
    float score = 0;
    int64_t type = kNormal;
  };
  std::string origin;  // the file, for messages
  std::vector<Piece> pieces;
  int64_t kind = kUnigram;
  bool byte_fallback = false;
  SentencePieceRules rules;
  std::string charsmap;  // empty: text is taken as it is
  std::string unknown_surface = " \xE2\x81\x87 ";
  std::string bos_piece = "<s>", eos_piece = "</s>";
};

// A tokenizer.model: the protocol buffer sentencepiece.ModelProto. kNotFound; kCorrupt for what is damaged,
// with the field; kInvalidInput for a model of words or characters and for one that denormalises.
SentencePieceModel ReadSentencePieceFile(const fs::path& path);

}  // namespace elrea
