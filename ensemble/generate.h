// Texts for a list of requests (Generator, on top of DecodeBatch), and logits and scores of given texts, under mixtures
// of adapters (method section 6).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ensemble/decode_batch.h"

namespace elrea {

// Called with text as it becomes final; returning false cancels the request.
using TextCallback = std::function<bool(size_t request, const std::string& piece)>;
// Called when a request ends.
using DoneCallback = std::function<void(size_t request, const Completion& completion)>;

// Single-thread use.
class Generator {
 public:
  // As DecodeBatch. REQUIRES: the arguments outlive it.
  Generator(const Decoder& decoder, const Tokenizer& tokenizer, std::vector<int32_t> stop_tokens,
            GenerateLimits limits = {}, const PackedWeights* packed = nullptr, PrefixCache* prefixes = nullptr)
      : batch_(decoder, tokenizer, std::move(stop_tokens), limits, packed, prefixes) {}

  // Completions in the order of the requests. A request's result does not depend on how others are scheduled beyond
  // rounding. kInvalidInput as of DecodeBatch::Check (names the request's number); nothing has run then.
  std::vector<Completion> Run(const std::vector<GenerateRequest>& requests, const TextCallback& on_text = {},
                              const DoneCallback& on_done = {});

 private:
  DecodeBatch batch_;
};

// Logits [positions, vocab] f32, on the model's device, of a mixture whose members' hidden states are given: hidden[m] [positions,
// dim] f32 as Decoder::Forward returns them. For Mixing::kProbabilities these are the logarithms of the mean
// probabilities. REQUIRES: one tensor per member, at least one.
torch::Tensor MixHidden(const Decoder& decoder, const std::vector<MixtureMember>& members,
                        const std::vector<torch::Tensor>& hidden, Mixing mixing);

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
