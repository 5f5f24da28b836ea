// The step of a tokenizer that turns one piece of text into tokens: one class per kind of model.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/token_kinds.h"
#include "data/tokenizer_spec.h"

namespace elrea {

struct EncodeScratch;

// Const-shareable.
class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the tokens of `piece`. REQUIRES: valid UTF-8, not empty.
  virtual void Encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& tokens) const = 0;
  // Everything in the model's own rules that decides an encoding, as bytes.
  virtual std::string Identity() const = 0;
};

// `spec` must outlive the model; spec.model's merges are not needed after this.
std::unique_ptr<WordModel> MakeWordModel(const TokenizerSpec& spec, const TokenKinds& kinds);

}  // namespace elrea
