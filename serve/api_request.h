// Bodies of requests, checked and turned into plain structs: OpenAI's fields, and ours under `elrea`. Every fault is an
// ApiError of status 400 that names the field.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "data/chat_template.h"
#include "ensemble/sampler.h"

namespace elrea {

// The `elrea` field: who answers, and what to tell about it.
struct EnsembleCall {
  std::optional<int64_t> top_k;       // experts that take part
  std::optional<double> min_weight;   // share of the weight below which a member is left out
  std::optional<double> temperature;  // of the softmax over clusters
  bool has_weights = false;           // forced weights in place of the routing's:
  double base_weight = 0;
  std::vector<double> expert_weights = {};
  int64_t nearest = 0;        // training rows to report
  bool disagreement = false;  // report how much the members disagree about each token
  std::optional<double> deadline_s;
};

using TextOrTokens = std::variant<std::string, std::vector<int32_t>>;

// /v1/chat/completions and /v1/completions.
struct CompletionCall {
  std::string model;
  bool is_chat = false;
  std::vector<ChatMessage> messages;   // of a chat
  std::vector<TextOrTokens> prompts;   // otherwise
  SamplingOptions sampling;            // defaults of the run, with what the request says
  bool has_seed = false;
  std::vector<std::pair<int32_t, float>> logit_bias;
  int64_t n = 1;
  bool stream = false, include_usage = false;
  bool log_probs = false;
  int64_t num_alternatives = 0;
  bool echo = false;  // /v1/completions: the text begins with the prompt
  EnsembleCall ensemble;
};

struct EmbeddingCall {
  std::string model;
  std::vector<TextOrTokens> inputs;
  std::optional<int64_t> dimensions;
  bool base64 = false;
};

struct TokenizeCall {
  std::string model;
  std::string text;
  std::vector<ChatMessage> messages;  // in place of the text
};

struct CallLimits {
  int64_t max_choices = 16;       // n, and prompts of one request
  int64_t max_alternatives = 20;  // log-probabilities beside each token
  int64_t max_stops = 16;
};

// The model's name alone: whose defaults to begin with.
std::string ParseModelName(const Json& body);
// `body`: as ParseBody gave it.
CompletionCall ParseChatCall(const Json& body, const SamplingOptions& defaults, const CallLimits& limits);
CompletionCall ParseCompletionCall(const Json& body, const SamplingOptions& defaults, const CallLimits& limits);
EmbeddingCall ParseEmbeddingCall(const Json& body, const CallLimits& limits);
TokenizeCall ParseTokenizeCall(const Json& body);
// A JSON object; ApiError for anything else.
Json ParseBody(std::string_view text);

}  // namespace elrea
