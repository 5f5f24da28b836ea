#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/text.h"

namespace elrea {
namespace {

// Bounds far above any real model, so that products of sizes cannot overflow and a damaged header asks for no
// absurd memory.
constexpr int64_t kMaxSize = int64_t{1} << 24;
constexpr int64_t kMaxLayers = 4096;

const char* ActivationName(Activation activation) {
  return activation == Activation::kSilu ? "silu" : "gelu_tanh";
}

void CheckSizes(const ModelConfig& c, std::vector<std::string>& faults) {
  const auto size = [&](const char* name, int64_t value, int64_t max) {
    if (value < 1 || value > max)
      faults.push_back(fmt::format("{} is {}, not within 1..{}", name, value, max));
  };
  size("vocab", c.vocab, kMaxSize);
  size("dim", c.dim, kMaxSize);
  size("layers", c.layers, kMaxLayers);
  size("heads", c.heads, kMaxSize);
  size("kv_heads", c.kv_heads, kMaxSize);
  size("head_dim", c.head_dim, kMaxSize);
  size("ffn", c.ffn, kMaxSize);
  size("context_length", c.context_length, int64_t{1} << 40);
  if (c.kv_heads > 0 && c.heads % c.kv_heads != 0) {
    faults.push_back(fmt::format("heads ({}) is no multiple of kv_heads ({})", c.heads, c.kv_heads));
  }
  if (c.head_dim % 2 != 0) {
    faults.push_back(fmt::format("head_dim ({}) is odd, rotary embeddings need pairs", c.head_dim));
  }
}

void CheckNumbers(const ModelConfig& c, std::vector<std::string>& faults) {
  const auto positive = [&](const char* name, double value) {
    if (!std::isfinite(value) || value <= 0)
      faults.push_back(fmt::format("{} is {}, not above 0", name, value));
  };
  const auto not_negative = [&](const char* name, double value) {
    if (!std::isfinite(value) || value < 0) faults.push_back(fmt::format("{} is {}, below 0", name, value));
  };
  positive("norm_eps", c.norm_eps);
  positive("rope_theta", c.rope_theta);
  positive("rope_scale_linear", c.rope_scale_linear);
  positive("attention_scale", c.attention_scale);
  positive("embedding_scale", c.embedding_scale);
  not_negative("rope_theta_local", c.rope_theta_local);
  not_negative("final_logit_softcap", c.final_logit_softcap);
}

void CheckSliding(const ModelConfig& c, std::vector<std::string>& faults) {
  const auto& sliding = c.layer_is_sliding;
  if (!sliding.empty() && std::ssize(sliding) != c.layers) {
    faults.push_back(
        fmt::format("there are {} layers, but the kinds of {} are given", c.layers, sliding.size()));
  }
  const bool any = std::find(sliding.begin(), sliding.end(), true) != sliding.end();
  if (c.sliding_window < 0 || (any && c.sliding_window == 0)) {
    faults.push_back(fmt::format("sliding_window is {}, but some layers slide", c.sliding_window));
  }
}

}  // namespace

void ModelConfig::Validate(const std::string& origin) const {
  std::vector<std::string> faults;
  CheckSizes(*this, faults);
  CheckNumbers(*this, faults);
  CheckSliding(*this, faults);
  if (faults.empty()) return;
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format("{}: the model's configuration contradicts itself: {}; correct it or take the checkpoint "
                  "again from its source",
                  origin, Join(faults, "; ")));
}

std::vector<bool> SlidingLayers(int64_t layers, int64_t pattern, const std::string& origin) {
  if (pattern < 1) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("{}: the sliding-window pattern is {}, not at least 1; correct it", origin, pattern));
  }
  std::vector<bool> sliding;
  if (layers > kMaxLayers) return sliding;
  for (int64_t i = 0; i < layers; ++i) sliding.push_back((i + 1) % pattern != 0);
  return sliding;
}

Json ModelConfig::ToJson() const {
  return Json{{"family", family},
              {"vocab", vocab},
              {"dim", dim},
              {"layers", layers},
              {"heads", heads},
              {"kv_heads", kv_heads},
              {"head_dim", head_dim},
              {"ffn", ffn},
              {"context_length", context_length},
              {"norm_eps", norm_eps},
              {"rope_theta", rope_theta},
              {"rope_theta_local", rope_theta_local},
              {"rope_scale_linear", rope_scale_linear},
              {"sliding_window", sliding_window},
              {"layer_is_sliding", layer_is_sliding},
              {"attention_scale", attention_scale},
              {"embedding_scale", embedding_scale},
              {"final_logit_softcap", final_logit_softcap},
              {"activation", ActivationName(activation)},
              {"norm_adds_one", norm_adds_one},
              {"qk_norm", qk_norm},
              {"post_norms", post_norms},
              {"tied_embeddings", tied_embeddings}};
}

}  // namespace elrea
