// Lock-step generation on a tiny random model: against full forward passes adapter by adapter, and the manners of the
// request loop (stops, limits, callbacks, scheduling).
#include "ensemble/generate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "lora/testing.h"
#include "model/testing.h"

namespace elrea {
namespace {

using torch::Tensor;

// Token t is the letter 'a' + t % 26; enough to watch text come out.
class LetterTokenizer : public Tokenizer {
 public:
  explicit LetterTokenizer(int64_t vocab) { vocab_size_ = vocab; }
  std::vector<int32_t> Encode(std::string_view, SpecialTokens) const override { return {}; }
  std::string TokenBytes(int32_t token, bool) const override { return std::string(1, static_cast<char>('a' + token % 26)); }
};

class GenerateTest : public testing::TestWithParam<ModelConfig (*)()> {
 protected:
  GenerateTest() : decoder_(MakeTinyModel(GetParam()(), 7)), layout_(decoder_.config(), config_), tokenizer_(decoder_.config().vocab) {
    for (uint64_t seed : {21, 22, 23}) {
      adapters_.push_back(MakeRandomAdapter(decoder_.config(), config_, seed));
      loras_.push_back(std::make_unique<LoraWeights>(layout_, adapters_.back(), torch::kFloat, torch::kCPU));
    }
  }
  GenerateRequest Request(uint64_t seed, std::vector<MixtureMember> members, int64_t new_tokens = 12) const {
    GenerateRequest r{RandomTokens(5 + static_cast<int64_t>(seed) % 4, decoder_.config().vocab, seed), std::move(members), {}};
    r.sampling.max_new_tokens = new_tokens;
    return r;
  }
  std::vector<MixtureMember> Mixture() const {
    return {{loras_[0].get(), 0.3}, {loras_[1].get(), 0.9}, {nullptr, 0.2}, {loras_[2].get(), 0.1}};
  }
  // Greedy continuation by a full forward pass of every member at every step, logits or probabilities summed one by one.
  std::vector<int32_t> Naive(const GenerateRequest& r) const {
    std::vector<int32_t> tokens = r.prompt, out;
    for (int64_t i = 0; i < r.sampling.max_new_tokens; ++i) {
      Tensor sum = torch::zeros({decoder_.config().vocab});
      for (const MixtureMember& m : r.members) {
        LoraMix mix({m.adapter});
        Tensor residual = decoder_.Forward(PackRows({tokens}), &mix);
        Tensor logits = decoder_.Logits(residual.narrow(0, residual.size(0) - 1, 1))[0];
        sum += m.weight * (r.mixing == Mixing::kProbabilities ? torch::softmax(logits, 0) : logits);
      }
      out.push_back(static_cast<int32_t>(sum.argmax().item<int64_t>()));
      tokens.push_back(out.back());
    }
    return out;
  }
  std::vector<Completion> Run(const std::vector<GenerateRequest>& requests, GenerateLimits limits = {}) {
    return Generator(decoder_, tokenizer_, stop_tokens_, limits).Run(requests);
  }

  AdapterConfig config_{.rank = 4, .alpha = 8};
  Decoder decoder_;
  AdapterLayout layout_;
  LetterTokenizer tokenizer_;
  std::vector<Adapter> adapters_;
  std::vector<std::unique_ptr<LoraWeights>> loras_;
  std::vector<int32_t> stop_tokens_;
};

TEST_P(GenerateTest, GreedyEqualsTheSumOfFullForwardPasses) {
  std::vector<GenerateRequest> requests;
  for (uint64_t seed = 1; seed <= 6; ++seed) requests.push_back(Request(seed, Mixture()));
  requests.push_back(Request(7, {{loras_[1].get(), 1}}));
  requests.push_back(Request(8, {{nullptr, 1}}));
  std::vector<Completion> all = Run(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(all[i].tokens, Naive(requests[i])) << "request " << i;
    EXPECT_EQ(all[i].reason, FinishReason::kLength);
    EXPECT_EQ(all[i].text.size(), 12u);
  }
}

TEST_P(GenerateTest, ProbabilitiesAreMixedBesideLogits) {
  std::vector<GenerateRequest> requests;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    requests.push_back(Request(seed, Mixture()));
    if (seed % 2 == 0) requests.back().mixing = Mixing::kProbabilities;
  }
  const std::vector<Completion> all = Run(requests);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(all[i].tokens, Naive(requests[i])) << "request " << i;
}

// The logarithm of the mean of the members' probabilities, position by position.
TEST_P(GenerateTest, MixedHiddenStatesAreMeanProbabilities) {
  const std::vector<MixtureMember> members = {{loras_[0].get(), 1.0}, {loras_[1].get(), 3.0}};
  const std::vector<int32_t> tokens = RandomTokens(6, decoder_.config().vocab, 3);
  std::vector<Tensor> hidden;
  Tensor mean = torch::zeros({6, decoder_.config().vocab});
  for (const MixtureMember& m : members) {
    LoraMix mix({m.adapter});
    hidden.push_back(decoder_.Forward(PackRows({tokens}), &mix));
    mean += m.weight / 4 * torch::softmax(decoder_.Logits(hidden.back()), 1);
  }
  const Tensor mixed = MixHidden(decoder_, members, hidden, Mixing::kProbabilities);
  EXPECT_LT((mixed.exp() - mean).abs().max().item<float>(), 1e-6);
}

TEST_P(GenerateTest, SchedulingChangesNoResult) {
  std::vector<GenerateRequest> requests;
  for (uint64_t seed = 1; seed <= 7; ++seed) requests.push_back(Request(seed, Mixture(), 4 + static_cast<int64_t>(seed)));
  std::vector<Completion> together = Run(requests), tight = Run(requests, {.max_rows = 5, .max_prefill_tokens = 1});
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(together[i].tokens, tight[i].tokens) << "request " << i;
}

TEST_P(GenerateTest, OneMemberOfWeightOneIsThatAdapterBitForBit) {
  GenerateRequest alone = Request(3, {{loras_[0].get(), 1}});
  GenerateRequest mixed = Request(3, {{loras_[0].get(), 2.5}});  // weights need not sum to one
  Completion a = Run({alone})[0], b = Run({mixed})[0];
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.log_probs, b.log_probs);
}

TEST_P(GenerateTest, LogProbabilitiesEqualScoringTheText) {
  GenerateRequest r = Request(4, Mixture());
  Completion c = Run({r})[0];
  std::vector<int32_t> tokens = r.prompt;
  tokens.insert(tokens.end(), c.tokens.begin(), c.tokens.end());
  std::vector<float> scores = ScoreTokens(decoder_, r.members, tokens);
  ASSERT_EQ(scores.size(), tokens.size() - 1);
  for (size_t i = 0; i < c.tokens.size(); ++i) EXPECT_NEAR(c.log_probs[i], scores[r.prompt.size() - 1 + i], 2e-4);
}

TEST_P(GenerateTest, StopsAtTokensStringsAndOnRequest) {
  GenerateRequest r = Request(5, Mixture(), 20);
  Completion whole = Run({r})[0];
  // A stop string from the middle of the text cuts before its first occurrence.
  GenerateRequest with_string = r;
  with_string.sampling.stop = {whole.text.substr(6, 3), "not there"};
  Completion cut = Run({with_string})[0];
  EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(with_string.sampling.stop[0])));
  EXPECT_EQ(cut.reason, FinishReason::kStopString);
  stop_tokens_ = {whole.tokens[4]};
  size_t first = std::find(whole.tokens.begin(), whole.tokens.end(), whole.tokens[4]) - whole.tokens.begin();
  Completion stopped = Run({r})[0];
  EXPECT_EQ(stopped.reason, FinishReason::kStopToken);
  EXPECT_EQ(stopped.tokens.size(), first);
  stop_tokens_.clear();
  std::string streamed;
  std::vector<Completion> cancelled = Generator(decoder_, tokenizer_, {}).Run({r}, [&](size_t, const std::string& piece) {
    streamed += piece;
    return streamed.size() < 3;
  });
  EXPECT_EQ(streamed, whole.text.substr(0, 3));
  EXPECT_EQ(cancelled[0].reason, FinishReason::kCancelled);
}

TEST_P(GenerateTest, SampledTextIsAFunctionOfTheSeed) {
  GenerateRequest r = Request(6, Mixture(), 20);
  r.sampling.temperature = 1;
  r.sampling.seed = 4;
  EXPECT_EQ(Run({r})[0].tokens, Run({r})[0].tokens);
  GenerateRequest other = r;
  other.sampling.seed = 5;
  EXPECT_NE(Run({r})[0].tokens, Run({other})[0].tokens);
}

TEST_P(GenerateTest, TheContextEndsATextAndALongerPromptIsRefused) {
  GenerateRequest r = Request(9, {{nullptr, 1}}, 10000);
  r.prompt = RandomTokens(decoder_.config().context_length - 3, decoder_.config().vocab, 1);
  EXPECT_EQ(Run({r})[0].tokens.size(), 3u);
  r.prompt = RandomTokens(decoder_.config().context_length, decoder_.config().vocab, 1);
  try {
    Run({Request(1, {{nullptr, 1}}), r});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("request 2"), std::string::npos) << error.message();
  }
  EXPECT_THROW(Run({Request(1, {})}), Error);
}

INSTANTIATE_TEST_SUITE_P(Families, GenerateTest, testing::Values(TinyLlamaConfig, TinyGemma3Config));

}  // namespace
}  // namespace elrea
