// Read Step first. A pass has one row per member of each request; its logits have one row per request and, where
// disagreement is measured or probabilities are mixed, one more per member.
#include "ensemble/decode_batch.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "ensemble/disagreement.h"
#include "lora/decode_adapter.h"
#include "model/device_memory.h"

namespace elrea {

using torch::Tensor;

// A request being decoded: one cache per member, and the text so far.
struct DecodeBatch::Active {
  Active(uint64_t id, GenerateRequest r, const Tokenizer& tokenizer)
      : id(id),
        request(std::move(r)),
        last_token(request.prompt.back()),
        decoder(tokenizer),
        bias(request.sampling, request.logit_bias) {}
  uint64_t id;
  GenerateRequest request;
  std::vector<KvCache> caches = {};
  int32_t last_token;  // not yet read by the members
  StreamDecoder decoder;
  TokenBias bias;
  std::string unsent = "";  // final text held back while it may begin a stop string
  Completion completion = {};
  bool has_read_prompt = false, finished = false;

  // Whether the next token is the likeliest of the mixture and nothing else is asked of its logits.
  bool TakesLikeliest() const {
    return request.sampling.temperature == 0 && bias.empty() && request.num_alternatives == 0 && !request.NeedsMembers();
  }

  // What member `m` has yet to read.
  std::span<const int32_t> Unread(size_t m) const {
    if (has_read_prompt) return {&last_token, 1};
    return std::span(request.prompt).subspan(static_cast<size_t>(caches[m].length()));
  }

  // Whether the members lack one token each, as between the tokens of an answer. REQUIRES: caches.
  bool LacksOneToken() const {
    for (size_t m = 0; m < caches.size(); ++m) {
      if (Unread(m).size() > 1) return false;
    }
    return true;
  }
};

const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength: return "length";
    case FinishReason::kCancelled: return "cancelled";
    default: return "stop";
  }
}

namespace {

double TotalWeight(const std::vector<MixtureMember>& members) {
  return std::accumulate(members.begin(), members.end(), 0.0,
                         [](double sum, const MixtureMember& m) { return sum + m.weight; });
}

// mixed[v] = log(sum_m share_m softmax(logits of m)[v]); members [members, vocab] f32.
void MixProbabilities(const std::vector<MixtureMember>& mixture, const Tensor& members, Tensor mixed) {
  const double total = TotalWeight(mixture);
  Tensor log_shares = torch::empty({members.size(0), 1}, torch::kFloat);
  for (size_t m = 0; m < mixture.size(); ++m) {
    log_shares[static_cast<int64_t>(m)][0] = std::log(mixture[m].weight / total);
  }
  mixed.copy_(torch::logsumexp(torch::log_softmax(members, 1) + log_shares, 0));
}

// Longest suffix of `text` that is a proper prefix of a stop string: it must wait.
size_t HeldBack(const std::string& text, const std::vector<std::string>& stops) {
  size_t held = 0;
  for (const std::string& stop : stops) {
    for (size_t n = std::min(text.size(), stop.size() > 0 ? stop.size() - 1 : 0); n > held; --n) {
      if (text.compare(text.size() - n, n, stop, 0, n) == 0) held = n;
    }
  }
  return held;
}

size_t FindStop(const std::string& text, const std::vector<std::string>& stops) {
  size_t found = std::string::npos;
  for (const std::string& stop : stops) {
    if (!stop.empty()) found = std::min(found, text.find(stop));
  }
  return found;
}

}  // namespace

struct DecodeBatch::Outputs {
  struct Row {
    size_t request, member;  // of the wave
    float share;             // of the member in the request; they sum to 1, so that log-probabilities are a mixture's
    int64_t own = -1;        // row of the logits that the member has for itself
  };
  std::vector<Row> rows;        // those under one adapter side by side: their low-rank products become one
  std::vector<int64_t> first;   // [wave] row of a request's mixture; its members' own rows follow
  int64_t count = 0;            // rows of logits

  Outputs(const std::vector<Active*>& wave, const std::map<const LoraWeights*, size_t>& places) {
    for (size_t r = 0; r < wave.size(); ++r) {
      const auto& members = wave[r]->request.members;
      first.push_back(count++);
      for (size_t m = 0; m < members.size(); ++m) {
        rows.push_back({r, m, static_cast<float>(members[m].weight / TotalWeight(members)),
                        wave[r]->request.NeedsMembers() ? count++ : -1});
      }
    }
    const auto place = [&](const Row& row) {
      return places.at(wave[row.request]->request.members[row.member].adapter);
    };
    std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) { return place(a) < place(b); });
  }
};

GenerateLimits GenerateLimits::ForThroughput(const Decoder& decoder) {
  GenerateLimits limits;
  const std::optional<int64_t> free = FreeDeviceBytes(decoder.device());
  if (!free) return limits;
  constexpr int64_t kPositions = 1024, kMostRows = 2048;  // of a cache, as a guess; beyond these rows products gain nothing
  const int64_t fitting = *free / 2 / KvCache::NumBytes(decoder.config(), decoder.dtype(), kPositions);
  limits.max_rows = std::clamp(fitting, limits.max_rows, kMostRows);
  limits.max_prefill_tokens = 32768;
  return limits;
}

DecodeBatch::DecodeBatch(const Decoder& decoder, const Tokenizer& tokenizer, std::vector<int32_t> stop_tokens,
                         const GenerateLimits& limits, const PackedWeights* packed, PrefixCache* prefixes)
    : decoder_(decoder),
      tokenizer_(tokenizer),
      stop_tokens_(std::move(stop_tokens)),
      limits_(limits),
      prefixes_(prefixes) {
  if (packed != nullptr && DecodeEngine::Serves(decoder)) {
    engine_ = std::make_unique<DecodeEngine>(decoder, *packed);
  }
}

DecodeBatch::~DecodeBatch() = default;

void DecodeBatch::Check(const GenerateRequest& r, const std::string& name) const {
  const auto fail = [&](const std::string& why) { throw Error(ErrorKind::kInvalidInput, name + ": " + why); };
  if (r.members.empty()) fail("no adapter takes part");
  if (r.prompt.empty()) fail("the prompt is empty");
  const auto length = static_cast<int64_t>(r.prompt.size());
  if (length + 1 > decoder_.config().context_length) {
    fail(fmt::format("the prompt has {} tokens; the model's context is {}", length, decoder_.config().context_length));
  }
}

int64_t DecodeBatch::num_rows() const {
  int64_t rows = 0;
  for (const auto& a : active_) rows += static_cast<int64_t>(a->request.members.size());
  return rows;
}

bool DecodeBatch::HasRoom(const GenerateRequest& request) const {
  return active_.empty() || num_rows() + static_cast<int64_t>(request.members.size()) <= limits_.max_rows;
}

void DecodeBatch::Register(const LoraWeights* adapter) {
  places_.try_emplace(adapter, places_.size());
  if (engine_ && adapter && !views_.contains(adapter)) views_.emplace(adapter, DecodeView(*adapter));
}

void DecodeBatch::Join(uint64_t id, GenerateRequest request) {
  Check(request, fmt::format("request {}", id + 1));
  for (const MixtureMember& m : request.members) Register(m.adapter);
  active_.push_back(std::make_unique<Active>(id, std::move(request), tokenizer_));
}

bool DecodeBatch::Cancel(uint64_t id, const EndCallback& on_end) {
  const auto found = std::find_if(active_.begin(), active_.end(), [&](const auto& a) { return a->id == id; });
  if (found == active_.end()) return false;
  (*found)->completion.reason = FinishReason::kCancelled;
  End(**found, on_end);
  active_.erase(found);
  return true;
}

void DecodeBatch::Clear() {
  active_.clear();
  places_.clear();
  views_.clear();
}

void DecodeBatch::Step(const TokenCallback& on_token, const EndCallback& on_end) {
  std::vector<Active*> prompts = TakePrefillWave(), ready;
  for (const auto& a : active_) {
    if (!a->caches.empty() && a->LacksOneToken()) ready.push_back(a.get());
  }
  Advance(std::move(prompts), /*prefill=*/true, on_token, on_end);
  Advance(std::move(ready), /*prefill=*/false, on_token, on_end);
}

// Caches of all members, with what the prefix cache knows of the prompt.
void DecodeBatch::PrepareCaches(Active& a) {
  const auto prompt = static_cast<int64_t>(a.request.prompt.size());
  const int64_t capacity = std::min(decoder_.config().context_length,
                                    prompt + std::min(a.request.sampling.max_new_tokens, limits_.cache_headroom));
  a.completion.reused_tokens = prompt;
  for (const MixtureMember& m : a.request.members) {
    std::optional<KvCache> known;
    if (prefixes_ != nullptr) known = prefixes_->Find(m.adapter, a.request.prompt, capacity);
    if (!known) known.emplace(decoder_.config(), decoder_.dtype(), decoder_.device(), capacity);
    a.completion.reused_tokens = std::min(a.completion.reused_tokens, known->length());
    a.caches.push_back(std::move(*known));
  }
}

std::vector<DecodeBatch::Active*> DecodeBatch::TakePrefillWave() {
  std::vector<Active*> wave;
  int64_t tokens = 0;
  for (const auto& a : active_) {
    if (a->caches.empty()) PrepareCaches(*a);
    if (a->LacksOneToken()) continue;  // a step of decoding reads it
    int64_t cost = 0;
    for (size_t m = 0; m < a->caches.size(); ++m) cost += static_cast<int64_t>(a->Unread(m).size());
    if (!wave.empty() && tokens + cost > limits_.max_prefill_tokens) break;
    wave.push_back(a.get());
    tokens += cost;
  }
  return wave;
}

void DecodeBatch::Advance(std::vector<Active*> wave, bool prefill, const TokenCallback& on_token,
                          const EndCallback& on_end) {
  if (limits_.isolate && (prefill || !engine_)) {
    for (Active* a : wave) Pass({a}, prefill, on_token);
  } else if (!wave.empty()) {
    Pass(wave, prefill, on_token);
  }
  for (auto& a : active_) {
    if (a->finished) End(*a, on_end);
  }
  std::erase_if(active_, [](const auto& a) { return a->finished; });
}

// One pass over the rows of a wave: whole prompts (prefill) or one token each.
void DecodeBatch::Pass(const std::vector<Active*>& wave, bool prefill, const TokenCallback& on_token) {
  const Outputs outputs(wave, places_);
  Tensor logits = !prefill && engine_ ? EngineLogits(wave, outputs) : ForwardLogits(wave, outputs);
  if (!logits.is_cpu() && std::all_of(wave.begin(), wave.end(), [](const Active* a) { return a->TakesLikeliest(); })) {
    return AcceptLikeliest(wave, logits, on_token);
  }
  logits = logits.cpu();
  for (size_t r = 0; r < wave.size(); ++r) {
    const GenerateRequest& request = wave[r]->request;
    if (request.mixing == Mixing::kProbabilities) {
      const auto members = static_cast<int64_t>(request.members.size());
      MixProbabilities(request.members, logits.narrow(0, outputs.first[r] + 1, members), logits[outputs.first[r]]);
    }
    wave[r]->has_read_prompt = true;
    const float* of_request = logits.data_ptr<float>() + outputs.first[r] * logits.size(1);
    wave[r]->finished = !AcceptToken(*wave[r], Sample(*wave[r], of_request), of_request, on_token);
  }
}

// Greedy tokens are found where the logits are, which are [wave, vocab] here: two numbers a request leave the device.
void DecodeBatch::AcceptLikeliest(const std::vector<Active*>& wave, const Tensor& logits, const TokenCallback& on_token) {
  const auto [best, ids] = logits.max(1);
  const Tensor log_probs = (best - torch::logsumexp(logits, 1)).cpu(), tokens = ids.cpu();
  for (size_t r = 0; r < wave.size(); ++r) {
    const auto i = static_cast<int64_t>(r);
    const SampledToken token = {static_cast<int32_t>(tokens.data_ptr<int64_t>()[i]), log_probs.data_ptr<float>()[i]};
    wave[r]->has_read_prompt = true;
    wave[r]->finished = !AcceptToken(*wave[r], token, /*logits=*/nullptr, on_token);
  }
}

// [outputs, vocab] f32 on the CPU.
Tensor DecodeBatch::EngineLogits(const std::vector<Active*>& wave, const Outputs& outputs) {
  std::vector<DecodeRow> rows;
  for (const Outputs::Row& row : outputs.rows) {
    Active& a = *wave[row.request];
    const LoraWeights* adapter = a.request.members[row.member].adapter;
    rows.push_back({a.last_token, &a.caches[row.member], adapter ? &views_.at(adapter) : nullptr,
                    outputs.first[row.request], row.share, row.own});
  }
  Tensor logits = torch::empty({outputs.count, decoder_.config().vocab}, torch::kFloat);
  engine_->Step(rows, outputs.count, logits.data_ptr<float>());
  return logits;
}

// [outputs, vocab] f32 on the model's device.
Tensor DecodeBatch::ForwardLogits(const std::vector<Active*>& wave, const Outputs& outputs) {
  std::vector<std::span<const int32_t>> tokens;
  std::vector<const LoraWeights*> adapters;
  std::vector<KvCache*> caches;
  Tensor weights = torch::zeros({outputs.count, static_cast<int64_t>(outputs.rows.size())}, torch::kFloat);
  auto w = weights.accessor<float, 2>();
  for (size_t i = 0; i < outputs.rows.size(); ++i) {
    const Outputs::Row& row = outputs.rows[i];
    Active& a = *wave[row.request];
    tokens.push_back(a.Unread(row.member));
    adapters.push_back(a.request.members[row.member].adapter);
    caches.push_back(&a.caches[row.member]);
    w[outputs.first[row.request]][static_cast<int64_t>(i)] = row.share;
    if (row.own >= 0) w[row.own][static_cast<int64_t>(i)] = 1;
  }
  PackedBatch batch = PackRows(tokens);
  batch.caches = caches;
  LoraMix mix(adapters);
  Tensor residual = decoder_.Forward(batch, &mix);
  if (residual.size(0) != static_cast<int64_t>(outputs.rows.size())) {  // prompts: the last token of each row
    std::vector<int64_t> last;
    for (size_t r = 0; r < outputs.rows.size(); ++r) last.push_back(batch.offsets[r + 1] - 1);
    residual = residual.index_select(0, torch::tensor(last, torch::kLong).to(residual.device()));
  }
  return decoder_.MixedLogits(residual, weights.to(residual.device())).contiguous();
}

SampledToken DecodeBatch::Sample(const Active& a, const float* logits) const {
  const std::span<const float> mixed(logits, static_cast<size_t>(decoder_.config().vocab));
  return SampleToken(mixed, a.request.sampling, a.request.stream, a.completion.tokens.size(), a.bias);
}

// The next token of one request; false when it has ended. `logits` are its rows, null where TakesLikeliest.
bool DecodeBatch::AcceptToken(Active& a, const SampledToken& sampled, const float* logits, const TokenCallback& on_token) {
  const auto vocab = static_cast<size_t>(decoder_.config().vocab);
  Completion& c = a.completion;
  if (std::find(stop_tokens_.begin(), stop_tokens_.end(), sampled.token) != stop_tokens_.end()) {
    c.reason = FinishReason::kStopToken;
    const std::string rest = a.unsent + a.decoder.Flush();
    c.text += rest;
    if (!rest.empty() && on_token && !on_token(a.id, nullptr, rest)) c.reason = FinishReason::kCancelled;
    return false;
  }
  DecodedToken decoded{sampled.token, sampled.log_prob};
  if (a.request.num_alternatives > 0) decoded.alternatives = LikeliestTokens({logits, vocab}, a.request.num_alternatives);
  if (a.request.measure_disagreement) {
    std::vector<std::span<const float>> members;
    std::vector<double> weights;
    for (const MixtureMember& m : a.request.members) {
      members.emplace_back(logits + (members.size() + 1) * vocab, vocab);
      weights.push_back(m.weight);
    }
    decoded.disagreement = MutualInformation(members, weights);
  }
  c.tokens.push_back(sampled.token);
  c.log_probs.push_back(sampled.log_prob);
  a.bias.Count(sampled.token);
  a.last_token = sampled.token;
  return EmitText(a, decoded, on_token);
}

// Hands out the text that the token made final; false when the request has ended.
bool DecodeBatch::EmitText(Active& a, const DecodedToken& decoded, const TokenCallback& on_token) {
  const SamplingOptions& o = a.request.sampling;
  Completion& c = a.completion;
  a.unsent += a.decoder.Push(decoded.token);
  const size_t stop = FindStop(a.unsent, o.stop);
  const auto length = static_cast<int64_t>(a.request.prompt.size() + c.tokens.size());
  const bool full =
      static_cast<int64_t>(c.tokens.size()) >= o.max_new_tokens || length >= decoder_.config().context_length;
  size_t ready = stop;
  if (stop != std::string::npos) {
    c.reason = FinishReason::kStopString;
  } else {
    if (full) a.unsent += a.decoder.Flush();
    ready = full ? a.unsent.size() : a.unsent.size() - HeldBack(a.unsent, o.stop);
  }
  const std::string text = a.unsent.substr(0, ready);
  a.unsent.erase(0, ready);
  c.text += text;
  if (on_token && !on_token(a.id, &decoded, text)) {
    c.reason = FinishReason::kCancelled;
    return false;
  }
  return !full && stop == std::string::npos;
}

void DecodeBatch::End(Active& a, const EndCallback& on_end) {
  if (prefixes_ != nullptr && a.has_read_prompt) {
    std::vector<int32_t> text = a.request.prompt;
    text.insert(text.end(), a.completion.tokens.begin(), a.completion.tokens.end());
    for (size_t m = 0; m < a.caches.size(); ++m) prefixes_->Store(a.request.members[m].adapter, text, a.caches[m]);
  }
  if (on_end) on_end(a.id, std::move(a.completion));
}

}  // namespace elrea
