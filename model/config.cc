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
  size("layers", c.layers, kMaxModelLayers);
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
  positive("attention_scale", c.attention_scale);
  positive("embedding_scale", c.embedding_scale);
  not_negative("rope_theta_local", c.rope_theta_local);
  not_negative("attn_logit_softcap", c.attn_logit_softcap);
  not_negative("final_logit_softcap", c.final_logit_softcap);
}

void CheckRope(const ModelConfig& c, std::vector<std::string>& faults) {
  using Kind = RopeScaling::Kind;
  const RopeScaling& r = c.rope_scaling;
  const auto positive = [&](const char* name, double value) {
    if (!std::isfinite(value) || value <= 0)
      faults.push_back(fmt::format("the rope scaling's {} is {}, not above 0", name, value));
  };
  positive("factor", r.factor);
  positive("attention_factor", r.attention_factor);
  if (r.kind == Kind::kLlama3 || r.kind == Kind::kYarn) {
    positive("original context", static_cast<double>(r.original_context));
  }
  if (r.kind == Kind::kLlama3) {
    positive("low_freq_factor", r.low_freq_factor);
    positive("high_freq_factor - low_freq_factor", r.high_freq_factor - r.low_freq_factor);
  }
  if (r.kind == Kind::kYarn) {
    positive("beta_slow", r.beta_slow);
    positive("beta_fast", r.beta_fast);
    if (c.rope_theta == 1) faults.push_back("rope_theta is 1, with which yarn has no dimensions to choose from");
  }
  if (r.kind == Kind::kFactors) {
    if (2 * std::ssize(r.factors) != c.head_dim) {
      faults.push_back(fmt::format("there are {} rope factors, not head_dim / 2 = {}", r.factors.size(), c.head_dim / 2));
    }
    for (const double factor : r.factors) {
      if (std::isfinite(factor) && factor > 0) continue;
      faults.push_back(fmt::format("a rope factor is {}, not above 0", factor));
      break;
    }
  }
  if (!c.layer_skips_rope.empty() && std::ssize(c.layer_skips_rope) != c.layers) {
    faults.push_back(fmt::format("there are {} layers, but for {} it is said whether they rotate", c.layers,
                                 c.layer_skips_rope.size()));
  }
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
  CheckRope(*this, faults);
  CheckSliding(*this, faults);
  if (faults.empty()) return;
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format("{}: the model's configuration contradicts itself: {}; correct it or take the checkpoint "
                  "again from its source",
                  origin, Join(faults, "; ")));
}

namespace {

// True for all but every `interval`-th layer.
std::vector<bool> AllButEvery(int64_t layers, int64_t interval, const char* what, const std::string& origin) {
  if (interval < 1) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: the {} is {}, not at least 1; correct it", origin, what, interval));
  }
  std::vector<bool> chosen;
  if (layers > kMaxModelLayers) return chosen;
  for (int64_t i = 0; i < layers; ++i) chosen.push_back((i + 1) % interval != 0);
  return chosen;
}

}  // namespace

std::vector<bool> SlidingLayers(int64_t layers, int64_t pattern, const std::string& origin) {
  return AllButEvery(layers, pattern, "sliding-window pattern", origin);
}

std::vector<bool> NopeLayers(int64_t layers, int64_t interval, const std::string& origin) {
  std::vector<bool> skips = AllButEvery(layers, interval, "interval of layers without rotary embedding", origin);
  skips.flip();
  return skips;
}

Json RopeScaling::ToJson() const {
  switch (kind) {
    case Kind::kNone:
      return Json{{"type", "none"}};
    case Kind::kLinear:
      return Json{{"type", "linear"}, {"factor", factor}};
    case Kind::kLlama3:
      return Json{{"type", "llama3"},
                  {"factor", factor},
                  {"low_freq_factor", low_freq_factor},
                  {"high_freq_factor", high_freq_factor},
                  {"original_context", original_context}};
    case Kind::kYarn:
      return Json{{"type", "yarn"},
                  {"factor", factor},
                  {"attention_factor", attention_factor},
                  {"beta_fast", beta_fast},
                  {"beta_slow", beta_slow},
                  {"truncate", truncate},
                  {"original_context", original_context}};
    default:
      return Json{{"type", "factors"}, {"factors", factors}, {"attention_factor", attention_factor}};
  }
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
              {"rope_scaling", rope_scaling.ToJson()},
              {"layer_skips_rope", layer_skips_rope},
              {"sliding_window", sliding_window},
              {"layer_is_sliding", layer_is_sliding},
              {"attention_scale", attention_scale},
              {"embedding_scale", embedding_scale},
              {"attn_logit_softcap", attn_logit_softcap},
              {"final_logit_softcap", final_logit_softcap},
              {"activation", ActivationName(activation)},
              {"norm_adds_one", norm_adds_one},
              {"qk_norm", qk_norm},
              {"post_norms", post_norms},
              {"qkv_bias", qkv_bias},
              {"o_bias", o_bias},
              {"mlp_bias", mlp_bias},
              {"fused_qkv", fused_qkv},
              {"fused_gate_up", fused_gate_up},
              {"tied_embeddings", tied_embeddings}};
}

}  // namespace elrea
