#include "bench/decode_exactness.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lora/testing.h"
#include "model/kv_cache.h"

namespace elrea::bench {

DecodeCases::DecodeCases(const Decoder& decoder, const Tokenizer& tokenizer, torch::Dtype dtype)
    : tokenizer_(tokenizer), layout_(decoder.config(), {.rank = 8, .alpha = 32}) {
  for (uint64_t seed = 1; seed <= kMostAdapters; ++seed) {
    Adapter adapter = MakeRandomAdapter(decoder.config(), {.rank = 8, .alpha = 32}, seed);
    adapter.params.mul_(0.2);
    loras_.push_back(std::make_unique<LoraWeights>(layout_, adapter, dtype, torch::kCPU));
  }
}

std::string DecodeCases::ProblemText(int64_t i) {
  constexpr const char* kNames[] = {"Natalia", "Weng",   "Betty", "Julie",  "James",
                                    "Mark",    "Albert", "Ken",   "Alexis", "Tina"};
  constexpr const char* kThings[] = {"clips", "books", "apples", "stickers", "letters", "flowers", "pizzas"};
  return fmt::format(
      "{0} sold {1} {2} to her friends in April, and then she sold {3} times as many in May. How many {2} "
      "did {0} sell "
      "altogether in April and May?\nAnswer:",
      kNames[i % 10], 12 + 7 * i, kThings[i % 7], 2 + i % 4);
}

GenerateRequest DecodeCases::Problem(int64_t i, int64_t num_adapters, int64_t new_tokens) const {
  return Request(ProblemText(i), num_adapters, new_tokens);
}

GenerateRequest DecodeCases::Request(const std::string& prompt, int64_t num_adapters,
                                     int64_t new_tokens) const {
  GenerateRequest r{tokenizer_.Encode(prompt, SpecialTokens::kAsText), {}, {}};
  if (num_adapters == 0) r.members.push_back({nullptr, 1});
  for (int64_t i = 0; i < num_adapters; ++i) {
    r.members.push_back({loras_[static_cast<size_t>(i)].get(), 1.0 / (1.0 + static_cast<double>(i))});
  }
  r.sampling.max_new_tokens = new_tokens;
  return r;
}

namespace {

double EqualShare(const std::vector<Completion>& a, const std::vector<Completion>& b) {
  int64_t equal = 0;
  for (size_t i = 0; i < a.size(); ++i) equal += a[i].tokens == b[i].tokens ? 1 : 0;
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

std::vector<GenerateRequest> Problems(const DecodeCases& cases, int64_t prompts, int64_t adapters,
                                      int64_t tokens) {
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < prompts; ++i) requests.push_back(cases.Problem(i, adapters, tokens));
  return requests;
}

// Sum over logits [rows, vocab] f32 of -log p of each row's target.
double SumNll(const torch::Tensor& logits, const torch::Tensor& targets) {
  return -at::log_softmax(logits, 1).gather(1, targets.unsqueeze(1)).sum().item<double>();
}

double PlainNll(const Decoder& plain, std::span<const int32_t> row) {
  const PackedBatch batch = PackRows({row});
  const auto n = static_cast<int64_t>(row.size());
  return SumNll(plain.Logits(plain.Forward(batch, nullptr).narrow(0, 0, n - 1)),
                batch.ids.narrow(0, 1, n - 1));
}

}  // namespace

Exactness CompareTexts(const Decoder& plain, const Decoder& in_bf16, const PackedWeights& packed,
                       const Tokenizer& tokenizer, int64_t prompts, int64_t adapters, int64_t tokens) {
  const DecodeCases f32_cases(plain, tokenizer, torch::kFloat),
      bf16_cases(in_bf16, tokenizer, in_bf16.dtype());
  const std::vector<GenerateRequest> requests = Problems(f32_cases, prompts, adapters, tokens);
  const auto twins = Generator(plain, tokenizer, {}).Run(requests);
  return {
      EqualShare(Generator(plain, tokenizer, {}, {}, &packed).Run(requests), twins),
      EqualShare(
          Generator(in_bf16, tokenizer, {}, {}, &packed).Run(Problems(bf16_cases, prompts, adapters, tokens)),
          twins)};
}

Perplexities ComparePerplexity(const Decoder& plain, const PackedWeights& packed,
                               const std::vector<std::vector<int32_t>>& rows) {
  const ModelConfig& config = plain.config();
  double plain_nll = 0, packed_nll = 0;
  int64_t tokens = 0;
  std::vector<std::unique_ptr<KvCache>> caches;
  size_t longest = 0;
  for (const auto& row : rows) {
    plain_nll += PlainNll(plain, row);
    tokens += static_cast<int64_t>(row.size()) - 1;
    longest = std::max(longest, row.size());
    caches.push_back(
        std::make_unique<KvCache>(config, plain.dtype(), plain.device(), static_cast<int64_t>(row.size())));
  }
  DecodeEngine engine(plain, packed);
  for (size_t at = 0; at + 1 < longest; ++at) {  // one token of every row that goes on
    std::vector<DecodeRow> step;
    std::vector<int64_t> targets;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (at + 1 >= rows[i].size()) continue;
      step.push_back({rows[i][at], caches[i].get(), nullptr, static_cast<int64_t>(step.size()), 1});
      targets.push_back(rows[i][at + 1]);
    }
    torch::Tensor logits = torch::empty({static_cast<int64_t>(step.size()), config.vocab});
    engine.Step(step, static_cast<int64_t>(step.size()), logits.data_ptr<float>());
    packed_nll += SumNll(logits, torch::tensor(targets));
  }
  const auto n = static_cast<double>(tokens);
  return {std::exp(plain_nll / n), std::exp(packed_nll / n), tokens};
}

}  // namespace elrea::bench
