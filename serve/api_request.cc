#include "serve/api_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "serve/api_error.h"
#include "serve/json_fields.h"

namespace elrea {
namespace {

constexpr int64_t kMaxInteger = int64_t{1} << 53;  // what JSON numbers carry exactly everywhere

std::string ParseContent(const Json& content, const std::string& name) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (content.is_array()) {
    for (const Json& part : content) {
      const bool is_text = part.is_object() && part.value("type", Json()) == "text" && part.contains("text") &&
                           part["text"].is_string();
      if (!is_text) throw ApiError(400, name + ": only parts of type text are supported", name);
      text += part["text"].get<std::string>();
    }
    return text;
  }
  throw ApiError(400, fmt::format("{} must be a string or a list of text parts, not {}", name, JsonExcerpt(content)),
                 name);
}

ChatMessage ParseMessage(const Json& json, size_t index) {
  const std::string name = fmt::format("messages[{}]", index);
  JsonFields fields(json, name + ".");
  const std::string role = fields.String("role").value_or("");
  const Json* content = fields.Find("content");
  fields.Ignore({"name", "refusal", "annotations", "elrea"});
  fields.Refuse("tool_calls", "the models here call no tools");
  fields.Refuse("function_call", "the models here call no functions");
  fields.Refuse("audio", "the models here read text only");
  fields.RefuseOthers();
  if (role != "system" && role != "developer" && role != "user" && role != "assistant") {
    fields.Fail("role", "system, developer, user or assistant");
  }
  if (content == nullptr) fields.Fail("content", "a string or a list of text parts");
  return {role == "developer" ? "system" : role, ParseContent(*content, name + ".content")};
}

std::vector<ChatMessage> ParseMessages(JsonFields& fields) {
  const Json* list = fields.Find("messages");
  if (list == nullptr || !list->is_array() || list->empty()) fields.Fail("messages", "a list with at least one message");
  std::vector<ChatMessage> messages;
  for (size_t i = 0; i < list->size(); ++i) messages.push_back(ParseMessage((*list)[i], i));
  return messages;
}

std::optional<std::vector<int32_t>> ParseTokens(const Json& json) {
  if (!json.is_array() || json.empty()) return std::nullopt;
  std::vector<int32_t> tokens;
  for (const Json& token : json) {
    const auto number = WholeNumber(token);
    if (!number || *number < 0 || *number > INT32_MAX) return std::nullopt;
    tokens.push_back(static_cast<int32_t>(*number));
  }
  return tokens;
}

// A string, a list of strings, a list of token ids, or a list of such lists.
std::vector<TextOrTokens> ParseTexts(JsonFields& fields, const char* name, int64_t most) {
  const char* const must = "a string, a list of strings, a list of token ids, or a list of lists of token ids";
  const Json* json = fields.Find(name);
  if (json == nullptr) fields.Fail(name, must);
  if (json->is_string()) return {json->get<std::string>()};
  if (const auto tokens = ParseTokens(*json)) return {*tokens};
  if (!json->is_array() || json->empty()) fields.Fail(name, must);
  if (static_cast<int64_t>(json->size()) > most) fields.Fail(name, fmt::format("at most {} texts", most));
  std::vector<TextOrTokens> texts;
  for (const Json& item : *json) {
    const auto tokens = ParseTokens(item);
    if (!item.is_string() && !tokens) fields.Fail(name, must);
    texts.push_back(tokens ? TextOrTokens(*tokens) : TextOrTokens(item.get<std::string>()));
  }
  return texts;
}

std::vector<std::pair<int32_t, float>> ParseLogitBias(JsonFields& fields) {
  std::vector<std::pair<int32_t, float>> biases;
  const Json* json = fields.Find("logit_bias");
  if (json == nullptr) return biases;
  const char* const must = "an object of token ids and numbers from -100 to 100";
  if (!json->is_object() || json->size() > 1024) fields.Fail("logit_bias", must);
  for (const auto& [key, value] : json->items()) {
    int32_t token = -1;
    const auto parsed = std::from_chars(key.data(), key.data() + key.size(), token);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == key.data() + key.size() && token >= 0;
    if (!whole || !value.is_number() || std::abs(value.get<double>()) > 100) fields.Fail("logit_bias", must);
    biases.emplace_back(token, value.get<float>());
  }
  std::sort(biases.begin(), biases.end());
  const auto same = std::adjacent_find(biases.begin(), biases.end(),
                                       [](const auto& a, const auto& b) { return a.first == b.first; });
  if (same != biases.end()) fields.Fail("logit_bias", "without the same token twice");
  return biases;
}

void ParseForcedWeights(JsonFields& outer, EnsembleCall& call) {
  const Json* json = outer.Find("weights");
  if (json == nullptr) return;
  JsonFields fields(*json, "elrea.weights.");
  call.has_weights = true;
  call.base_weight = fields.Number("base", 0, 1e6).value_or(0);
  if (const Json* experts = fields.Find("experts")) {
    const char* const must = "a list of numbers from 0 to 1e6, one per expert";
    if (!experts->is_array()) fields.Fail("experts", must);
    for (const Json& weight : *experts) {
      if (!weight.is_number() || !(weight.get<double>() >= 0 && weight.get<double>() <= 1e6)) {
        fields.Fail("experts", must);
      }
      call.expert_weights.push_back(weight.get<double>());
    }
  }
  fields.RefuseOthers();
}

EnsembleCall ParseEnsembleCall(JsonFields& outer) {
  EnsembleCall call;
  const Json* json = outer.Find("elrea");
  if (json == nullptr) return call;
  JsonFields fields(*json, "elrea.");
  call.top_k = fields.Integer("top_k", 0, 1000);
  call.min_weight = fields.Number("min_weight", 0, 0.999);
  call.temperature = fields.Number("temperature", 1e-3, 1e3);
  call.nearest = fields.Integer("nearest", 0, 100).value_or(0);
  call.disagreement = fields.Bool("disagreement").value_or(false);
  call.deadline_s = fields.Number("deadline_s", 1e-3, 86400);
  ParseForcedWeights(fields, call);
  fields.RefuseOthers();
  return call;
}

void ParseSampling(JsonFields& fields, const CallLimits& limits, CompletionCall& call) {
  SamplingOptions& s = call.sampling;
  s.temperature = fields.Number("temperature", 0, 2).value_or(s.temperature);
  s.top_p = fields.Number("top_p", 0, 1).value_or(s.top_p);
  s.top_k = fields.Integer("top_k", 0, kMaxInteger).value_or(s.top_k);
  s.min_p = fields.Number("min_p", 0, 1).value_or(s.min_p);
  s.presence_penalty = fields.Number("presence_penalty", -2, 2).value_or(s.presence_penalty);
  s.frequency_penalty = fields.Number("frequency_penalty", -2, 2).value_or(s.frequency_penalty);
  const auto seed = fields.Integer("seed", -kMaxInteger, kMaxInteger);
  call.has_seed = seed.has_value();
  if (seed) s.seed = *seed;
  s.max_new_tokens = fields.Integer("max_tokens", 1, kMaxInteger).value_or(s.max_new_tokens);
  if (const auto stops = fields.Strings("stop")) {
    if (static_cast<int64_t>(stops->size()) > limits.max_stops) {
      fields.Fail("stop", fmt::format("at most {} strings", limits.max_stops));
    }
    for (const std::string& stop : *stops) {
      if (stop.empty() || stop.size() > 1024) fields.Fail("stop", "strings of 1 to 1024 bytes");
    }
    s.stop = *stops;
  }
  call.logit_bias = ParseLogitBias(fields);
}

// What both kinds of completion have in common.
void ParseCommon(JsonFields& fields, const CallLimits& limits, CompletionCall& call) {
  call.model = fields.String("model").value_or("");
  ParseSampling(fields, limits, call);
  call.n = fields.Integer("n", 1, limits.max_choices).value_or(1);
  call.stream = fields.Bool("stream").value_or(false);
  if (const Json* options = fields.Find("stream_options")) {
    JsonFields inner(*options, "stream_options.");
    call.include_usage = inner.Bool("include_usage").value_or(false);
    inner.Ignore({"include_obfuscation"});
    inner.RefuseOthers();
    if (!call.stream) throw ApiError(400, "stream_options goes with stream: true only", "stream_options");
  }
  call.ensemble = ParseEnsembleCall(fields);
  fields.Ignore({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"});
}

// {"type": "text"} asks for nothing.
void RefuseResponseFormat(JsonFields& fields) {
  const Json* format = fields.Find("response_format");
  if (format == nullptr || (format->is_object() && format->size() == 1 && format->value("type", Json()) == "text")) return;
  throw ApiError(400, "response_format is not supported: answers are free text; describe the form in the prompt",
                 "response_format", "unsupported_parameter");
}

}  // namespace

Json ParseBody(std::string_view text) {
  try {
    Json body = ParseJson(text, "the body");
    if (body.is_object()) return body;
    throw ApiError(400, fmt::format("the body must be a JSON object, not {}", JsonExcerpt(body)));
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "", "invalid_json");
  }
}

std::string ParseModelName(const Json& body) { return JsonFields(body).String("model").value_or(""); }

CompletionCall ParseChatCall(const Json& body, const SamplingOptions& defaults, const CallLimits& limits) {
  CompletionCall call;
  call.is_chat = true;
  call.sampling = defaults;
  JsonFields fields(body);
  ParseCommon(fields, limits, call);
  // The newer name of max_tokens.
  call.sampling.max_new_tokens =
      fields.Integer("max_completion_tokens", 1, kMaxInteger).value_or(call.sampling.max_new_tokens);
  call.log_probs = fields.Bool("logprobs").value_or(false);
  call.num_alternatives = fields.Integer("top_logprobs", 0, limits.max_alternatives).value_or(0);
  if (call.num_alternatives > 0 && !call.log_probs) {
    throw ApiError(400, "top_logprobs goes with logprobs: true only", "top_logprobs");
  }
  RefuseResponseFormat(fields);
  for (const char* name : {"tools", "functions"}) fields.Refuse(name, "the models here call no tools");
  fields.Refuse("audio", "the models here write text only");
  fields.Ignore({"tool_choice", "function_call", "parallel_tool_calls", "modalities", "reasoning_effort", "verbosity"});
  call.messages = ParseMessages(fields);
  fields.RefuseOthers();
  return call;
}

CompletionCall ParseCompletionCall(const Json& body, const SamplingOptions& defaults, const CallLimits& limits) {
  CompletionCall call;
  call.sampling = defaults;
  JsonFields fields(body);
  ParseCommon(fields, limits, call);
  const auto log_probs = fields.Integer("logprobs", 0, limits.max_alternatives);
  call.log_probs = log_probs.has_value();
  call.num_alternatives = log_probs.value_or(0);
  call.echo = fields.Bool("echo").value_or(false);
  if (call.echo && call.log_probs) {
    throw ApiError(400, "echo together with logprobs is not supported: prompts are not scored here", "echo",
                   "unsupported_parameter");
  }
  RefuseResponseFormat(fields);
  fields.Refuse("suffix", "the models here do not fill in the middle");
  if (const auto best_of = fields.Integer("best_of", 1, limits.max_choices); best_of && (*best_of != 1 || call.n != 1)) {
    throw ApiError(400, "best_of is not supported: every choice is returned; give n", "best_of", "unsupported_parameter");
  }
  call.prompts = ParseTexts(fields, "prompt", limits.max_choices);
  if (static_cast<int64_t>(call.prompts.size()) * call.n > limits.max_choices) {
    throw ApiError(400, fmt::format("n times the number of prompts must be at most {}", limits.max_choices), "n",
                   "too_many_choices");
  }
  fields.RefuseOthers();
  return call;
}

EmbeddingCall ParseEmbeddingCall(const Json& body, const CallLimits& limits) {
  EmbeddingCall call;
  JsonFields fields(body);
  call.model = fields.String("model").value_or("");
  call.inputs = ParseTexts(fields, "input", limits.max_choices);
  call.dimensions = fields.Integer("dimensions", 1, 1 << 20);
  const std::string format = fields.String("encoding_format").value_or("float");
  if (format != "float" && format != "base64") fields.Fail("encoding_format", "float or base64");
  call.base64 = format == "base64";
  fields.Ignore({"user"});
  fields.RefuseOthers();
  return call;
}

TokenizeCall ParseTokenizeCall(const Json& body) {
  TokenizeCall call;
  JsonFields fields(body);
  call.model = fields.String("model").value_or("");
  const auto text = fields.String("text");
  if (fields.Find("messages") != nullptr) call.messages = ParseMessages(fields);
  if (text.has_value() == !call.messages.empty()) throw ApiError(400, "give either text or messages", "text");
  call.text = text.value_or("");
  fields.RefuseOthers();
  return call;
}

}  // namespace elrea
