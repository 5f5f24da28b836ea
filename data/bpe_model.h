// Byte-pair encoding of both kinds; see BpeRules.
#pragma once

#include <array>
#include <bitset>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/bpe_merges.h"
#include "data/word_model.h"

namespace elrea {

class BpeModel : public WordModel {
 public:
  // Both must outlive the model, but for rules.merges, which are not needed after this.
  BpeModel(const TokenizerSpec& spec, const BpeRules& rules, const TokenKinds& kinds);
  void Encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& tokens) const override;
  std::string Identity() const override;

 private:
  void IndexChars();
  void IndexMerges(const TokenKinds& kinds);
  void IndexWholeWords(const TokenKinds& kinds);
  void IndexJoins();
  void EncodeWord(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& tokens) const;
  void MergeWord(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& tokens) const;
  void PushBytes(std::string_view word, BpeMerger& merger) const;
  void PushChars(std::string_view word, BpeMerger& merger) const;
  int32_t CharToken(std::string_view word, size_t pos, size_t num_bytes, std::string& spelled) const;

  const TokenizerSpec& spec_;
  const BpeRules& rules_;
  MergeTable merges_;
  std::array<int32_t, 256> byte_tokens_;  // -1: the vocabulary lacks the byte
  std::vector<int32_t> char_tokens_;      // SentencePiece: by code point; -1 as above
  static constexpr size_t kNumJoinClasses = 130;
  std::array<std::bitset<kNumJoinClasses>, kNumJoinClasses>
      joins_;  // does some piece have these side by side?
  std::unordered_map<std::string, int32_t>
      whole_words_;               // for ignore_merges, by what a word looks like to us
  bool words_are_whole_ = false;  // a word must not be cut before it is looked at
};

}  // namespace elrea
