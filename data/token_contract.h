// What an adapter's tokens mean: with which vocabulary, chat template, BOS and end tokens it was trained, and
// on which tokens of a row. Kept beside the adapter and compared when it is loaded, because an adapter that
// is given other tokens answers worse without a word.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/json.h"
#include "data/chat_template.h"
#include "data/tokenizer.h"

namespace elrea {

inline constexpr const char* kTokenContractFile = "token_contract.json";

struct TokenContract {
  std::string vocabulary;  // Tokenizer::fingerprint
  int64_t vocab_size = 0;
  std::string chat_template;         // ChatTemplate::fingerprint
  std::string bos;                   // text of the token that every prompt begins with; empty: none
  std::vector<int32_t> stop_tokens;  // ends of an answer; the first belongs to the loss
  std::string loss = "response";     // the loss is over the answer and the token that ends it

  static TokenContract Of(const Tokenizer& tokenizer, const ChatTemplate& chat);
  Json ToJson() const;
};

// Writes the file into an adapter's folder; the same bytes for the same contract.
void WriteTokenContract(const fs::path& adapter, const TokenContract& contract);

// kInvalidInput with every difference between the adapter's contract and `ours`, and the remedy. Nothing when
// the folder has none, as those of other programs. kCorrupt for a damaged file.
void CheckTokenContract(const fs::path& adapter, const TokenContract& ours);

}  // namespace elrea
