// Continuous batching: requests join and leave between steps, and in each step every one of them gets a token. The
// members of a request read the same tokens in lock-step, each with its own key/value cache (method section 6); the
// frozen products are one GEMM for the rows of all requests.
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
#include "ensemble/prefix_cache.h"
#include "ensemble/sampler.h"
#include "lora/lora_mix.h"
#include "model/decode_engine.h"
#include "model/decoder.h"

namespace elrea {

struct MixtureMember {
  const LoraWeights* adapter = nullptr;  // null: the backbone alone
  double weight = 1;
};

// What is averaged over the members: logits (method section 6), or probabilities (softmax first, then the mean).
enum class Mixing { kLogits, kProbabilities };

struct GenerateRequest {
  std::vector<int32_t> prompt;
  std::vector<MixtureMember> members;  // those that run; weights need not sum to 1
  SamplingOptions sampling;
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // (token, added to its logit), each token once at most
  int64_t num_alternatives = 0;                            // likeliest tokens to report beside each chosen one
  bool measure_disagreement = false;                       // costs one vocabulary row per member
  uint64_t stream = 0;                                     // of random numbers; Generator::Run gives its own
  Mixing mixing = Mixing::kLogits;

  // Whether every member's own logits are needed beside the mixture.
  bool NeedsMembers() const { return measure_disagreement || mixing == Mixing::kProbabilities; }
};

enum class FinishReason { kStopToken, kStopString, kLength, kCancelled };
const char* FinishReasonName(FinishReason reason);  // "stop", "stop", "length", "cancelled", as OpenAI's API names them

struct Completion {
  std::vector<int32_t> tokens;   // without the stop token
  std::vector<float> log_probs;  // of each token, natural log
  std::string text;              // cut before a stop string
  FinishReason reason = FinishReason::kLength;
  int64_t reused_tokens = 0;  // of the prompt, found in the prefix cache; the fewest of all members
};

struct GenerateLimits {
  // What suits a model on this device where nobody waits for a single request: on a GPU many more rows, as far as their
  // caches fit the memory that is free.
  static GenerateLimits ForThroughput(const Decoder& decoder);

  int64_t max_rows = 48;              // members of all requests that decode together
  int64_t max_prefill_tokens = 2048;  // tokens of one prompt pass
  // Positions that a cache has room for beyond its prompt at first; it grows when they are used up. A server that
  // accounts for memory takes all at once.
  int64_t cache_headroom = 64;
  // Every request in passes of its own, so that its logits are the same bits whoever runs beside it. The decode
  // engine's are anyway; prompts, and tokens without the engine, are then not read together.
  bool isolate = false;
};

struct DecodedToken {
  int32_t token = 0;
  float log_prob = 0;
  std::vector<SampledToken> alternatives = {};  // likeliest first
  double disagreement = 0;                      // nats (MutualInformation), when asked for
};

// Called for each token, with the text that became final with it (which may be empty, or belong to earlier tokens), and
// once with a null token where only text held back is left. Returning false cancels the request.
using TokenCallback = std::function<bool(uint64_t id, const DecodedToken* token, const std::string& text)>;
// Called when a request ends, whatever the reason.
using EndCallback = std::function<void(uint64_t id, Completion&& completion)>;

// Single-thread use.
class DecodeBatch {
 public:
  // `packed`: the decoder's weights for the decode engine; null: tokens are decoded by the decoder's own passes.
  // `prefixes`, where not null, is looked up for every prompt and receives every text. REQUIRES: the arguments outlive
  // it.
  DecodeBatch(const Decoder& decoder, const Tokenizer& tokenizer, std::vector<int32_t> stop_tokens,
              const GenerateLimits& limits = {}, const PackedWeights* packed = nullptr, PrefixCache* prefixes = nullptr);
  ~DecodeBatch();

  // kInvalidInput when the request has no members, an empty prompt, or one that leaves no room in the context; `name`
  // ("request 2") begins the message.
  void Check(const GenerateRequest& request, const std::string& name) const;

  // Whether the request's rows are free. Always, when nothing runs.
  bool HasRoom(const GenerateRequest& request) const;
  // Members' rows are in the order in which their adapters were named here or came with requests, and sums over members
  // in that order too: whoever names all adapters first gets the same bits whatever requests come. Null: the backbone.
  // REQUIRES: the adapter lives until Clear.
  void Register(const LoraWeights* adapter);
  // From the next step on. `id` must be none that runs. Errors as of Check.
  void Join(uint64_t id, GenerateRequest request);
  // Ends a request before the next step, with EndCallback called at once. False when there is no such request.
  bool Cancel(uint64_t id, const EndCallback& on_end);

  bool empty() const { return active_.empty(); }
  int64_t num_requests() const { return static_cast<int64_t>(active_.size()); }
  int64_t num_rows() const;

  // Reads prompts of requests that joined, in order, up to max_prefill_tokens (one at least), and gives every request
  // that had read its prompt before one more token.
  void Step(const TokenCallback& on_token, const EndCallback& on_end);

  // Drops all requests without a word, and all that is known of adapters: they need not live longer.
  void Clear();

 private:
  struct Active;
  // Which rows of a pass make up which rows of logits.
  struct Outputs;

  void PrepareCaches(Active& active);
  std::vector<Active*> TakePrefillWave();
  void Advance(std::vector<Active*> wave, bool prefill, const TokenCallback& on_token, const EndCallback& on_end);
  void Pass(const std::vector<Active*>& wave, bool prefill, const TokenCallback& on_token);
  torch::Tensor ForwardLogits(const std::vector<Active*>& wave, const Outputs& outputs);
  torch::Tensor EngineLogits(const std::vector<Active*>& wave, const Outputs& outputs);
  void AcceptLikeliest(const std::vector<Active*>& wave, const torch::Tensor& logits, const TokenCallback& on_token);
  SampledToken Sample(const Active& active, const float* logits) const;
  bool AcceptToken(Active& active, const SampledToken& sampled, const float* logits, const TokenCallback& on_token);
  bool EmitText(Active& active, const DecodedToken& decoded, const TokenCallback& on_token);
  void End(Active& active, const EndCallback& on_end);

  const Decoder& decoder_;
  const Tokenizer& tokenizer_;
  std::vector<int32_t> stop_tokens_;
  GenerateLimits limits_;
  PrefixCache* prefixes_;
  std::unique_ptr<DecodeEngine> engine_;                // null: none
  std::map<const LoraWeights*, LowRankAdapter> views_;  // of adapters, for the engine
  std::map<const LoraWeights*, size_t> places_;         // of adapters among the rows of a pass
  std::vector<std::unique_ptr<Active>> active_;         // in the order of joining
};

}  // namespace elrea
