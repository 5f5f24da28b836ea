// Whether packed decoding says what the plain f32 passes over the dequantised weights say: greedy texts and
// perplexity.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "ensemble/generate.h"
#include "lora/lora_weights.h"
#include "model/packed_weights.h"

namespace elrea::bench {

// Adapters with random numbers of ordinary size, and prompts: the requests of the decoding benchmark.
class DecodeCases {
 public:
  static constexpr int64_t kMostAdapters = 9;

  // REQUIRES: the arguments outlive it; `dtype` that of the decoder meant to read the requests.
  DecodeCases(const Decoder& decoder, const Tokenizer& tokenizer, torch::Dtype dtype);

  // Word problem `i` under the mixture of `num_adapters` adapters (weights 1, 1/2, 1/3, ...), or the backbone
  // alone.
  GenerateRequest Problem(int64_t i, int64_t num_adapters, int64_t new_tokens) const;
  GenerateRequest Request(const std::string& prompt, int64_t num_adapters, int64_t new_tokens) const;
  static std::string ProblemText(int64_t i);
  int64_t num_params() const { return layout_.num_params(); }  // of one adapter

 private:
  const Tokenizer& tokenizer_;
  AdapterLayout layout_;
  std::vector<std::unique_ptr<LoraWeights>> loras_;
};

struct Exactness {
  double equal_texts = 0;    // share of prompts; from f32 prompts and caches
  double equal_in_bf16 = 0;  // the same from bf16 prompts and caches, as the program decodes by default
};
// Greedy texts of `prompts` word problems x `tokens` tokens against the plain passes. `plain`: the same
// weights in f32.
Exactness CompareTexts(const Decoder& plain, const Decoder& in_bf16, const PackedWeights& packed,
                       const Tokenizer& tokenizer, int64_t prompts, int64_t adapters, int64_t tokens);

struct Perplexities {
  double plain = 0, packed = 0;
  int64_t tokens = 0;
};
// exp of the mean next-token loss of the rows, by one plain f32 pass and by the engine token by token.
Perplexities ComparePerplexity(const Decoder& plain, const PackedWeights& packed,
                               const std::vector<std::vector<int32_t>>& rows);

}  // namespace elrea::bench
