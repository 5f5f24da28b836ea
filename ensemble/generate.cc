#include "ensemble/generate.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace elrea {

using torch::Tensor;

namespace {

// A step that throws leaves nothing behind for the next run.
class ClearOnExit {
 public:
  explicit ClearOnExit(DecodeBatch& batch) : batch_(batch) {}
  ~ClearOnExit() { batch_.Clear(); }

 private:
  DecodeBatch& batch_;
};

}  // namespace

std::vector<Completion> Generator::Run(const std::vector<GenerateRequest>& requests, const TextCallback& on_text,
                                       const DoneCallback& on_done) {
  for (size_t i = 0; i < requests.size(); ++i) batch_.Check(requests[i], fmt::format("request {}", i + 1));
  std::vector<Completion> completions(requests.size());
  const auto on_token = [&](uint64_t id, const DecodedToken*, const std::string& text) {
    return text.empty() || !on_text || on_text(id, text);
  };
  const auto on_end = [&](uint64_t id, Completion&& completion) {
    completions[id] = std::move(completion);
    if (on_done) on_done(id, completions[id]);
  };
  const ClearOnExit cleared(batch_);
  size_t waiting = 0;
  while (waiting < requests.size() || !batch_.empty()) {
    while (waiting < requests.size() && batch_.HasRoom(requests[waiting])) {
      GenerateRequest request = requests[waiting];
      request.stream = waiting;
      batch_.Join(waiting++, std::move(request));
    }
    batch_.Step(on_token, on_end);
  }
  return completions;
}

namespace {

double TotalWeight(const std::vector<MixtureMember>& members) {
  return std::accumulate(members.begin(), members.end(), 0.0,
                         [](double sum, const MixtureMember& m) { return sum + m.weight; });
}

}  // namespace

Tensor MixHidden(const Decoder& decoder, const std::vector<MixtureMember>& members, const std::vector<Tensor>& hidden,
                 Mixing mixing) {
  const auto num_members = static_cast<int64_t>(members.size());
  if (mixing == Mixing::kProbabilities) {
    Tensor sum;
    const double total = TotalWeight(members);
    for (size_t m = 0; m < members.size(); ++m) {
      const Tensor log_probs = torch::log_softmax(decoder.Logits(hidden[m]), 1) + std::log(members[m].weight / total);
      sum = sum.defined() ? torch::logaddexp(sum, log_probs) : log_probs;
    }
    return sum;
  }
  Tensor shares = torch::empty({num_members}, torch::kDouble);
  for (int64_t m = 0; m < num_members; ++m) shares[m] = members[static_cast<size_t>(m)].weight;
  shares = (shares / shares.sum()).to(torch::kFloat).to(hidden[0].device());
  // Row q of the weights takes position q of every member: [count, members * count].
  const int64_t count = hidden[0].size(0);
  const Tensor weights = torch::eye(count, shares.options()).unsqueeze(1).mul(shares.view({1, num_members, 1}));
  return decoder.MixedLogits(torch::cat(hidden), weights.reshape({count, -1}));
}

void VisitLogits(const Decoder& decoder, const std::vector<MixtureMember>& members, std::span<const int32_t> tokens,
                 const LogitsVisitor& visit) {
  auto n = static_cast<int64_t>(tokens.size()), num_members = static_cast<int64_t>(members.size());
  std::vector<std::span<const int32_t>> rows(members.size(), tokens);
  std::vector<const LoraWeights*> adapters;
  for (const MixtureMember& member : members) adapters.push_back(member.adapter);
  LoraMix mix(adapters);
  Tensor residual = decoder.Forward(PackRows(rows), &mix).view({num_members, n, -1});
  constexpr int64_t kPositions = 64;
  for (int64_t begin = 0; begin < n; begin += kPositions) {
    std::vector<Tensor> hidden;
    for (int64_t m = 0; m < num_members; ++m) {
      hidden.push_back(residual[m].narrow(0, begin, std::min(kPositions, n - begin)));
    }
    visit(begin, MixHidden(decoder, members, hidden, Mixing::kLogits).cpu());
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
