// The tokenizer of any spec: find added tokens -> normalise -> cut -> one WordModel for each piece.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/bpe_cache.h"
#include "data/token_kinds.h"
#include "data/tokenizer.h"
#include "data/tokenizer_spec.h"
#include "data/word_model.h"

namespace elrea {

// Const-shareable.
class PipelineTokenizer : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerSpec spec);

  std::vector<int32_t> Encode(std::string_view text, SpecialTokens special) const override;
  std::string TokenBytes(int32_t token, bool skip_special) const override;
  std::string Decode(std::span<const int32_t> tokens, bool skip_special) const override;
  std::string DecodeBytes(std::span<const int32_t> tokens, bool skip_special) const override;

 private:
  void MakeMatchers();
  void CheckToken(int32_t token) const;
  std::vector<std::string> Pieces(std::span<const int32_t> tokens, bool skip_special) const;
  std::string Identity() const;
  void EncodeFragment(std::string_view text, bool at_start, bool parse_special, EncodeScratch& scratch,
                      std::vector<int32_t>& tokens) const;
  void EncodeNormalized(std::string_view text, bool at_start, EncodeScratch& scratch,
                        std::vector<int32_t>& tokens) const;

  TokenizerSpec spec_;  // without the merges, which the model has indexed
  const TokenKinds kinds_;
  const std::unique_ptr<const WordModel> model_;
  AddedTokenMatcher raw_matcher_, normalized_matcher_;
  mutable ScratchPool pool_;
};

}  // namespace elrea
