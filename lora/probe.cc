#include "lora/probe.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <string>

#include "core/error.h"
#include "core/rng.h"
#include "lora/adapter_runs.h"
#include "model/packed_batch.h"

namespace elrea {

using torch::Tensor;

std::vector<std::vector<int32_t>> ProbeTokens(int64_t vocab) {
  constexpr uint64_t kSeed = 20240229;
  std::vector<std::vector<int32_t>> texts;
  for (const int length : {24, 17, 9}) {
    Rng rng(kSeed, static_cast<uint64_t>(length));
    std::vector<int32_t>& text = texts.emplace_back();
    for (int i = 0; i < length; ++i) text.push_back(static_cast<int32_t>(rng.Below(static_cast<uint64_t>(vocab))));
  }
  return texts;
}

namespace {

// Adds the updates of several adapters.
class UpdateSum : public LinearDelta {
 public:
  UpdateSum(const Decoder& decoder, std::vector<Adapter> adapters, const std::vector<double>& weights) {
    for (size_t i = 0; i < adapters.size(); ++i) {
      adapters[i].config.alpha *= weights[i];
      layouts_.push_back(std::make_unique<AdapterLayout>(decoder.config(), adapters[i].config));
      loras_.push_back(
          std::make_unique<LoraWeights>(*layouts_.back(), adapters[i], decoder.dtype(), decoder.device()));
    }
  }
  void AddForward(int64_t layer, LinearGroup group, const PackedBatch&, const Tensor& x, Tensor& y) override {
    for (const auto& lora : loras_) {
      if (lora->layout().group(layer, group).slots.empty()) continue;
      LowRankForward(AdapterRuns{{lora.get(), 0, x.size(0)}}, layer, group, x, y);
    }
  }

 private:
  std::vector<std::unique_ptr<AdapterLayout>> layouts_;
  std::vector<std::unique_ptr<LoraWeights>> loras_;
};

}  // namespace

Tensor ProbeLogits(const Decoder& decoder, const std::vector<Adapter>& adapters, const std::vector<double>& weights) {
  const auto texts = ProbeTokens(decoder.config().vocab);
  UpdateSum sum(decoder, adapters, weights);
  return decoder.Logits(decoder.Forward(PackRows({texts.begin(), texts.end()}), &sum));
}

ProbeAgreement CompareProbes(const Tensor& before, const Tensor& after) {
  const Tensor p = torch::log_softmax(before, 1), q = torch::log_softmax(after, 1);
  return {(before - after).abs().max().item<double>(), (p.exp() * (p - q)).sum(1).mean().item<double>(),
          before.abs().max().item<double>()};
}

void RequireAgreement(const ProbeAgreement& agreement, double tolerance, const std::string& what) {
  if (std::isfinite(agreement.max_difference) && agreement.max_difference <= tolerance) return;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: on the probe tokens a logit differs by {:.3g}, more than {:.3g}; nothing was written. If "
                          "rounding of this size is acceptable, raise the tolerance or write a wider type",
                          what, agreement.max_difference, tolerance));
}

Json ProbeRecord(const std::string& compared, const ProbeAgreement& agreement, double tolerance, const Decoder& decoder) {
  return Json{{"compared", compared},
              {"max_logit_difference", agreement.max_difference},
              {"mean_kl_nats", agreement.mean_kl},
              {"largest_logit", agreement.largest_logit},
              {"tolerance", tolerance},
              {"backbone", decoder.weights().fingerprint},
              {"tokens", ProbeTokens(decoder.config().vocab)}};
}

}  // namespace elrea
