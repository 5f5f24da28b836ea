// Byte-pair encoding of both kinds, and what a loader must find out to make one.
//   byte-level:    text is cut by a pre-tokeniser, the bytes of each piece are merged (GPT-2, Llama 3, Qwen,
//   SmolLM) SentencePiece: spaces become U+2581, characters are merged, unknown ones fall back to byte tokens
//   (Gemma, Llama 2)
#pragma once

#include <array>
#include <bitset>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/bpe_cache.h"
#include "data/bpe_merges.h"
#include "data/bpe_vocabulary.h"
#include "data/pretokenizer.h"
#include "data/tokenizer.h"
#include "data/tokenizer_added.h"
#include "data/tokenizer_normalizer.h"

namespace elrea {

struct BpeMergeRule {
  int32_t left, right, merged;
};

// Everything about one model's tokenizer. Ids are in range; every piece is valid UTF-8.
struct BpeSpec {
  Vocabulary vocabulary;             // as the file spells it
  std::vector<BpeMergeRule> merges;  // by rank
  std::vector<AddedToken> added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  bool byte_level = false;     // pieces are spelled in the byte alphabet
  bool byte_fallback = false;  // unknown characters become "<0xNN>" tokens
  bool ignore_merges = false;  // a piece that is in the vocabulary is not merged up to
  bool fuse_unknown = false;   // neighbouring unknown characters become one unknown token
  bool strip_leading_space = false;
  std::optional<int32_t> unknown, bos, eos;
  bool add_bos = false;
  std::string chat_template;
};

// Const-shareable.
class BpeTokenizer : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeSpec spec);

  std::vector<int32_t> Encode(std::string_view text, SpecialTokens special) const override;
  std::string TokenBytes(int32_t token, bool skip_special) const override;

 private:
  void IndexTokens();
  void IndexChars();
  void IndexMerges();
  void IndexJoins();
  std::string Identity() const;
  void EncodeFragment(std::string_view text, bool at_start, bool parse_special, EncodeScratch& scratch,
                      std::vector<int32_t>& tokens) const;
  void EncodeNormalized(std::string_view text, bool at_start, EncodeScratch& scratch,
                        std::vector<int32_t>& tokens) const;
  void EncodePiece(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& tokens) const;
  void EncodeWord(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& tokens) const;
  void MergeWord(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& tokens) const;
  void PushBytes(std::string_view word, BpeMerger& merger) const;
  void PushChars(std::string_view word, BpeMerger& merger) const;

  BpeSpec spec_;
  Normalizer text_rules_;  // what the pre-tokeniser's section asks for before cutting
  AddedTokenMatcher raw_matcher_, normalized_matcher_;
  MergeTable merges_;
  std::array<int32_t, 256> byte_tokens_;  // -1: the vocabulary lacks the byte
  std::vector<int32_t> char_tokens_;      // SentencePiece: by code point; -1 as above
  static constexpr size_t kNumJoinClasses = 130;
  std::array<std::bitset<kNumJoinClasses>, kNumJoinClasses>
      joins_;                                                  // does some piece have these side by side?
  std::unordered_map<std::string_view, int32_t> whole_words_;  // for ignore_merges, by bytes
  std::string bytes_;                                          // of all tokens, one after the other
  std::vector<uint32_t> bytes_begin_;                          // [vocab + 1]
  std::vector<bool> is_special_;
  mutable ScratchPool pool_;
};

}  // namespace elrea
