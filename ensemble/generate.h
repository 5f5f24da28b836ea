// Lock-step decoding of an ensemble (method section 6): the base and the experts of a request read the same tokens,
// each with its own key/value cache, and the next token comes from the weighted sum of their logits. Many requests run
// together, each with its own members and weights; the frozen products are one GEMM for all rows.
//
// The vocabulary matrix is linear and common to all members, so sum_c w_c (W h_c) is computed as W (sum_c w_c h_c):
// one vocabulary row per request instead of one per member.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "ensemble/sampler.h"
#include "lora/lora_mix.h"
#include "model/decode_engine.h"
#include "model/decoder.h"

namespace elrea {

struct MixtureMember {
  const LoraWeights* adapter = nullptr;  // null: the backbone alone
  double weight = 1;
};

struct GenerateRequest {
  std::vector<int32_t> prompt;
  std::vector<MixtureMember> members;  // those that run; weights need not sum to 1
  SamplingOptions sampling;
};

enum class FinishReason { kStopToken, kStopString, kLength, kCancelled };
const char* FinishReasonName(FinishReason reason);  // "stop", "stop", "length", "cancelled", as OpenAI's API names them

struct Completion {
  std::vector<int32_t> tokens;   // without the stop token
  std::vector<float> log_probs;  // of each token, natural log
  std::string text;              // cut before a stop string
  FinishReason reason = FinishReason::kLength;
};

struct GenerateLimits {
  int64_t max_rows = 48;             // members of all requests that decode together
  int64_t max_prefill_tokens = 2048; // tokens of one prompt pass
};

// Called with text as it becomes final; returning false cancels the request.
using TextCallback = std::function<bool(size_t request, const std::string& piece)>;
// Called when a request ends.
using DoneCallback = std::function<void(size_t request, const Completion& completion)>;

// Single-thread use.
class Generator {
 public:
  // `packed`: the decoder's weights for the decode engine; null: tokens are decoded by the decoder's own passes.
  // REQUIRES: the arguments outlive it.
  Generator(const Decoder& decoder, const Tokenizer& tokenizer, std::vector<int32_t> stop_tokens,
            GenerateLimits limits = {}, const PackedWeights* packed = nullptr);

  // Completions in the order of the requests. A request's result does not depend on how others are scheduled beyond
  // rounding. kInvalidInput when a request has no members, an empty prompt, or prompt + max_new_tokens passes the
  // context length (names the request's number).
  std::vector<Completion> Run(const std::vector<GenerateRequest>& requests, const TextCallback& on_text = {},
                              const DoneCallback& on_done = {});

 private:
  struct Active;
  void CheckRequest(size_t index, const GenerateRequest& request) const;
  torch::Tensor Advance(std::vector<Active*>& wave, bool prefill);
  torch::Tensor Decode(const std::vector<Active*>& wave);
  bool AcceptToken(Active& active, std::span<const float> logits, const TextCallback& on_text);

  const Decoder& decoder_;
  const Tokenizer& tokenizer_;
  std::vector<int32_t> stop_tokens_;
  GenerateLimits limits_;
  std::unique_ptr<DecodeEngine> engine_;                    // null: none
  std::map<const LoraWeights*, LowRankAdapter> views_;  // of the adapters of a Run, for the engine
};

// Called with the mixed logits of positions [begin, begin + logits.size(0)): [positions, vocab] f32 on the CPU.
using LogitsVisitor = std::function<void(int64_t begin, const torch::Tensor& logits)>;

// The logits that a normalised mixture gives after each token of a text, in pieces that bound the memory. At least one
// token and one member.
void VisitLogits(const Decoder& decoder, const std::vector<MixtureMember>& members, std::span<const int32_t> tokens,
                 const LogitsVisitor& visit);

// log-probabilities of tokens[1..] given what precedes, under the mixture. [tokens - 1] f32.
std::vector<float> ScoreTokens(const Decoder& decoder, const std::vector<MixtureMember>& members,
                               std::span<const int32_t> tokens);

}  // namespace elrea
