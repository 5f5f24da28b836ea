// Read this file first. One round of Run: admit waiting requests while rows are free and read their prompts (prefill),
// then advance every active request by one token; finished requests leave their rows to waiting ones.
#include "ensemble/generate.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <numeric>

#include "core/error.h"
#include "lora/decode_adapter.h"
#include "model/kv_cache.h"

namespace elrea {

using torch::Tensor;

// A request being decoded: one cache per member, and the text so far.
struct Generator::Active {
  size_t index;
  const GenerateRequest* request;
  std::vector<KvCache> caches;
  std::vector<int32_t> next;  // tokens not yet read by the members
  StreamDecoder decoder;
  std::string unsent;  // final text held back while it may begin a stop string
  Completion completion;
  bool finished = false;
};

const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength: return "length";
    case FinishReason::kCancelled: return "cancelled";
    default: return "stop";
  }
}

namespace {

// One row of a pass: member `member` of request `request`.
struct PassRow {
  size_t request, member;
};

double TotalWeight(const std::vector<MixtureMember>& members) {
  return std::accumulate(members.begin(), members.end(), 0.0,
                         [](double sum, const MixtureMember& m) { return sum + m.weight; });
}

// hidden [rows, dim] f32 of each row's last token -> mixed logits [requests, vocab] f32, divided by the sum of weights
// so that log-probabilities are those of a normalised mixture (the argmax is the same).
Tensor MixedLogits(const Decoder& decoder, const Tensor& hidden, const std::vector<PassRow>& rows,
                   const std::vector<const std::vector<MixtureMember>*>& members) {
  auto n = static_cast<int64_t>(members.size());
  Tensor weights = torch::zeros({n, static_cast<int64_t>(rows.size())}, torch::kFloat);  // [requests, rows]
  auto w = weights.accessor<float, 2>();
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto& mixture = *members[rows[r].request];
    w[static_cast<int64_t>(rows[r].request)][static_cast<int64_t>(r)] =
        static_cast<float>(mixture[rows[r].member].weight / TotalWeight(mixture));
  }
  return decoder.MixedLogits(hidden, weights.to(hidden.device()));
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

}  // namespace

Generator::Generator(const Decoder& decoder, const Tokenizer& tokenizer, std::vector<int32_t> stop_tokens,
                     GenerateLimits limits, const PackedWeights* packed)
    : decoder_(decoder), tokenizer_(tokenizer), stop_tokens_(std::move(stop_tokens)), limits_(limits) {
  if (packed != nullptr && DecodeEngine::Serves(decoder)) engine_ = std::make_unique<DecodeEngine>(decoder, *packed);
}

void Generator::CheckRequest(size_t index, const GenerateRequest& r) const {
  auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::kInvalidInput, fmt::format("request {}: {}", index + 1, why));
  };
  if (r.members.empty()) fail("no adapter takes part");
  if (r.prompt.empty()) fail("the prompt is empty");
  auto length = static_cast<int64_t>(r.prompt.size());
  if (length + 1 > decoder_.config().context_length) {
    fail(fmt::format("the prompt has {} tokens; the model's context is {}", length, decoder_.config().context_length));
  }
}

namespace {

// The rows of a wave's requests, those under one adapter side by side: their low-rank products become one. Adapters
// in the order in which they first appear, so that equal requests give equal bits in every process.
std::vector<PassRow> RowsByAdapter(const std::vector<const std::vector<MixtureMember>*>& members) {
  std::vector<PassRow> rows;
  std::map<const LoraWeights*, size_t> places;
  for (size_t r = 0; r < members.size(); ++r) {
    for (size_t m = 0; m < members[r]->size(); ++m) {
      rows.push_back({r, m});
      places.try_emplace((*members[r])[m].adapter, places.size());
    }
  }
  auto place = [&](const PassRow& row) { return places.at((*members[row.request])[row.member].adapter); };
  std::stable_sort(rows.begin(), rows.end(), [&](const PassRow& a, const PassRow& b) { return place(a) < place(b); });
  return rows;
}

}  // namespace

// One token for each member of the wave, through the engine.
Tensor Generator::Decode(const std::vector<Active*>& wave) {
  std::vector<const std::vector<MixtureMember>*> members;
  for (const Active* a : wave) members.push_back(&a->request->members);
  std::vector<DecodeRow> rows;
  for (const PassRow& row : RowsByAdapter(members)) {
    Active& a = *wave[row.request];
    const MixtureMember& m = a.request->members[row.member];
    rows.push_back({a.next.front(), &a.caches[row.member], m.adapter ? &views_.at(m.adapter) : nullptr,
                    static_cast<int64_t>(row.request), static_cast<float>(m.weight / TotalWeight(a.request->members))});
  }
  Tensor logits = torch::empty({static_cast<int64_t>(wave.size()), decoder_.config().vocab}, torch::kFloat);
  engine_->Step(rows, static_cast<int64_t>(wave.size()), logits.data_ptr<float>());
  return logits;
}

// One pass over the rows of a wave: whole prompts (prefill) or one token each. Mixed logits [wave, vocab] f32.
Tensor Generator::Advance(std::vector<Active*>& wave, bool prefill) {
  if (!prefill && engine_) return Decode(wave);
  std::vector<const std::vector<MixtureMember>*> members;
  for (const Active* a : wave) members.push_back(&a->request->members);
  const std::vector<PassRow> rows = RowsByAdapter(members);
  auto adapter = [&](const PassRow& row) { return (*members[row.request])[row.member].adapter; };
  std::vector<std::span<const int32_t>> tokens;
  std::vector<const LoraWeights*> adapters;
  std::vector<KvCache*> caches;
  for (const PassRow& row : rows) {
    tokens.emplace_back(wave[row.request]->next);
    adapters.push_back(adapter(row));
    caches.push_back(&wave[row.request]->caches[row.member]);
  }
  PackedBatch batch = PackRows(tokens);
  batch.caches = caches;
  LoraMix mix(adapters);
  Tensor residual = decoder_.Forward(batch, &mix);
  if (prefill) {
    std::vector<int64_t> last;
    for (size_t r = 0; r < rows.size(); ++r) last.push_back(batch.offsets[r + 1] - 1);
    residual = residual.index_select(0, torch::tensor(last, torch::kLong).to(residual.device()));
  }
  return MixedLogits(decoder_, residual, rows, members).cpu();
}

// Samples the next token of one request; false when it has ended.
bool Generator::AcceptToken(Active& a, std::span<const float> logits, const TextCallback& on_text) {
  const SamplingOptions& o = a.request->sampling;
  Completion& c = a.completion;
  SampledToken sampled = SampleToken(logits, o, a.index, c.tokens.size());
  auto emit = [&](const std::string& text) {
    c.text += text;
    if (!text.empty() && on_text && !on_text(a.index, text)) c.reason = FinishReason::kCancelled;
    return c.reason != FinishReason::kCancelled;
  };
  if (std::find(stop_tokens_.begin(), stop_tokens_.end(), sampled.token) != stop_tokens_.end()) {
    c.reason = FinishReason::kStopToken;
    emit(a.unsent + a.decoder.Flush());
    return false;
  }
  c.tokens.push_back(sampled.token);
  c.log_probs.push_back(sampled.log_prob);
  a.unsent += a.decoder.Push(sampled.token);
  size_t found = std::string::npos;
  for (const std::string& stop : o.stop) {
    if (!stop.empty()) found = std::min(found, a.unsent.find(stop));
  }
  if (found != std::string::npos) {
    c.reason = FinishReason::kStopString;
    emit(a.unsent.substr(0, found));
    return false;
  }
  auto length = static_cast<int64_t>(a.request->prompt.size() + c.tokens.size());
  bool full = static_cast<int64_t>(c.tokens.size()) >= o.max_new_tokens || length >= decoder_.config().context_length;
  if (full) a.unsent += a.decoder.Flush();
  size_t ready = full ? a.unsent.size() : a.unsent.size() - HeldBack(a.unsent, o.stop);
  bool wanted = emit(a.unsent.substr(0, ready));
  a.unsent.erase(0, ready);
  a.next = {sampled.token};
  return wanted && !full;
}

std::vector<Completion> Generator::Run(const std::vector<GenerateRequest>& requests, const TextCallback& on_text,
                                       const DoneCallback& on_done) {
  for (size_t i = 0; i < requests.size(); ++i) CheckRequest(i, requests[i]);
  views_.clear();
  for (const GenerateRequest& r : requests) {
    for (const MixtureMember& m : r.members) {
      if (engine_ && m.adapter && !views_.contains(m.adapter)) views_.emplace(m.adapter, DecodeView(*m.adapter));
    }
  }
  std::vector<Completion> completions(requests.size());
  std::vector<std::unique_ptr<Active>> active;
  size_t waiting = 0;
  auto rows_in_use = [&] {
    int64_t rows = 0;
    for (const auto& a : active) rows += static_cast<int64_t>(a->request->members.size());
    return rows;
  };
  auto admit = [&] {
    std::vector<Active*> wave;
    int64_t tokens = 0, rows = rows_in_use();
    while (waiting < requests.size()) {
      const GenerateRequest& r = requests[waiting];
      auto members = static_cast<int64_t>(r.members.size());
      int64_t cost = members * static_cast<int64_t>(r.prompt.size());
      if (!(active.empty() || rows + members <= limits_.max_rows)) break;
      if (!wave.empty() && tokens + cost > limits_.max_prefill_tokens) break;
      auto a = std::make_unique<Active>(Active{waiting++, &r, {}, r.prompt, StreamDecoder(tokenizer_), "", {}, false});
      int64_t capacity = static_cast<int64_t>(r.prompt.size()) + std::min<int64_t>(r.sampling.max_new_tokens, 64);
      for (int64_t m = 0; m < members; ++m) {
        a->caches.emplace_back(decoder_.config(), decoder_.dtype(), decoder_.device(), capacity);
      }
      wave.push_back(a.get());
      active.push_back(std::move(a));
      tokens += cost;
      rows += members;
    }
    return wave;
  };
  auto advance = [&](std::vector<Active*> wave, bool prefill) {
    Tensor logits = Advance(wave, prefill);
    int64_t vocab = logits.size(1);
    for (size_t i = 0; i < wave.size(); ++i) {
      std::span<const float> row(logits.data_ptr<float>() + static_cast<int64_t>(i) * vocab, static_cast<size_t>(vocab));
      wave[i]->finished = !AcceptToken(*wave[i], row, on_text);
    }
    for (auto& a : active) {
      if (!a->finished) continue;
      completions[a->index] = std::move(a->completion);
      if (on_done) on_done(a->index, completions[a->index]);
    }
    std::erase_if(active, [](const auto& a) { return a->finished; });
  };
  while (waiting < requests.size() || !active.empty()) {
    std::vector<Active*> ready;  // those that have read their prompt already
    for (const auto& a : active) ready.push_back(a.get());
    std::vector<Active*> wave = admit();
    if (!wave.empty()) advance(wave, /*prefill=*/true);
    if (!ready.empty()) advance(ready, /*prefill=*/false);
  }
  return completions;
}

void VisitLogits(const Decoder& decoder, const std::vector<MixtureMember>& members, std::span<const int32_t> tokens,
                 const LogitsVisitor& visit) {
  auto n = static_cast<int64_t>(tokens.size()), num_members = static_cast<int64_t>(members.size());
  std::vector<std::span<const int32_t>> rows(members.size(), tokens);
  std::vector<const LoraWeights*> adapters;
  Tensor shares = torch::empty({num_members}, torch::kDouble);
  for (int64_t m = 0; m < num_members; ++m) {
    adapters.push_back(members[static_cast<size_t>(m)].adapter);
    shares[m] = members[static_cast<size_t>(m)].weight;
  }
  shares = (shares / shares.sum()).to(torch::kFloat);
  LoraMix mix(adapters);
  Tensor residual = decoder.Forward(PackRows(rows), &mix).view({num_members, n, -1});
  constexpr int64_t kPositions = 64;
  for (int64_t begin = 0; begin < n; begin += kPositions) {
    int64_t count = std::min(kPositions, n - begin);
    // Row q of the weights takes position q of every member: [count, members * count].
    Tensor weights = torch::eye(count).unsqueeze(1).mul(shares.view({1, num_members, 1})).reshape({count, -1});
    Tensor piece = residual.narrow(1, begin, count).reshape({num_members * count, -1});
    visit(begin, decoder.MixedLogits(piece, weights.to(piece.device())).cpu());
  }
}

std::vector<float> ScoreTokens(const Decoder& decoder, const std::vector<MixtureMember>& members,
                               std::span<const int32_t> tokens) {
  std::vector<float> scores;
  if (tokens.size() < 2) return scores;
  VisitLogits(decoder, members, tokens.first(tokens.size() - 1), [&](int64_t begin, const Tensor& logits) {
    Tensor log_probs = torch::log_softmax(logits, 1);
    for (int64_t i = 0; i < logits.size(0); ++i) {
      scores.push_back(log_probs[i][tokens[static_cast<size_t>(begin + i + 1)]].item<float>());
    }
  });
  return scores;
}

}  // namespace elrea
