// Read Routes and Dispatch first.
#include "serve/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "serve/api_keys.h"
#include "serve/completion_reply.h"

namespace elrea {
namespace {

int64_t RandomSeed() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return static_cast<int64_t>(random() >> 11);
}

bool Matches(const std::string& path, std::string_view pattern) {
  if (!pattern.ends_with("/*")) return path == pattern;
  pattern.remove_suffix(1);
  return path.starts_with(pattern) && path.size() > pattern.size() &&
         path.find('/', pattern.size()) == std::string::npos;
}

// Ids of a text, with the BOS that the model expects.
std::vector<int32_t> EncodeText(const std::string& text, const ModelChoice& model) {
  const Tokenizer& tokenizer = *model.run->tokenizer;
  std::vector<int32_t> tokens = tokenizer.Encode(text, SpecialTokens::kParse);
  if (tokenizer.add_bos() && tokenizer.bos() && (tokens.empty() || tokens[0] != *tokenizer.bos())) {
    tokens.insert(tokens.begin(), *tokenizer.bos());
  }
  return tokens;
}

// What elrea.weights and the routing ask of the model and the prompt.
void CheckEnsembleCall(const EnsembleCall& call, const ModelChoice& model, size_t prompt_length) {
  const bool is_ensemble = model.target.kind == Target::Kind::kEnsemble;
  const auto num_experts = static_cast<size_t>(model.run->ensemble->bank().num_experts());
  if (call.has_weights) {
    if (!is_ensemble) throw ApiError(400, "elrea.weights goes with the ensemble only", "elrea.weights");
    if (!call.expert_weights.empty() && call.expert_weights.size() != num_experts) {
      throw ApiError(400, fmt::format("elrea.weights.experts must have {} numbers, one per expert, not {}", num_experts,
                                      call.expert_weights.size()),
                     "elrea.weights.experts");
    }
    const bool any = call.base_weight > 0 || std::any_of(call.expert_weights.begin(), call.expert_weights.end(),
                                                         [](double w) { return w > 0; });
    if (!any) throw ApiError(400, "elrea.weights: one weight at least must be above 0", "elrea.weights");
  }
  if (call.nearest > 0 && prompt_length < 2) {
    throw ApiError(400, "elrea.nearest: a prompt of one token has no gradient, and no row is nearest to it",
                   "elrea.nearest", "prompt_too_short");
  }
}

}  // namespace

void CheckTokens(const std::vector<int32_t>& tokens, const ModelChoice& model, const char* param) {
  const int64_t vocab = model.run->ensemble->decoder().config().vocab;
  const auto bad = std::find_if(tokens.begin(), tokens.end(), [&](int32_t t) { return t >= vocab; });
  if (bad != tokens.end()) {
    throw ApiError(400, fmt::format("{}: there is no token {}; ids go up to {}", param, *bad, vocab - 1), param);
  }
}

void CheckLength(size_t length, const ModelChoice& model, const char* param) {
  const int64_t context = model.run->ensemble->decoder().config().context_length;
  if (length == 0) throw ApiError(400, fmt::format("{} is empty", param), param);
  if (static_cast<int64_t>(length) < context) return;
  throw ApiError(400,
                 fmt::format("the prompt has {} tokens, and the model's context holds {} with the answer; shorten it",
                             length, context),
                 param, "context_length_exceeded");
}

Server::Api::Api(const ServeOptions& options, std::vector<std::string> keys, RunLoader loader, Metrics& metrics,
                 RunRegistry& runs, Scheduler& scheduler)
    : options_(options),
      keys_(std::move(keys)),
      loader_function_(std::move(loader)),
      metrics_(metrics),
      runs_(runs),
      scheduler_(scheduler) {}

Server::Api::~Api() = default;

const std::vector<Server::Api::Route>& Server::Api::Routes() {
  static const std::vector<Route> routes = {
      {"POST", "/v1/chat/completions", true, &Api::ChatCompletions},
      {"POST", "/v1/completions", true, &Api::Completions},
      {"GET", "/v1/models", true, &Api::Models},
      {"POST", "/tokenize", true, &Api::Tokenize},
      {"GET", "/health", false, &Api::Health},
      {"GET", "/ready", false, &Api::Ready},
      {"GET", "/metrics", true, &Api::ShowMetrics},
      {"POST", "/v1/embeddings", true, &Api::Embeddings},
      {"GET", "/elrea/runs", true, &Api::ListRuns},
      {"POST", "/elrea/runs", true, &Api::AddRun},
      {"GET", "/elrea/runs/*", true, &Api::ShowRun},
      {"POST", "/elrea/runs/*", true, &Api::ReloadRun},
      {"DELETE", "/elrea/runs/*", true, &Api::RemoveRun},
      {"GET", "/", false, &Api::Page},
      {"GET", "/app.js", false, &Api::Page},
      {"GET", "/style.css", false, &Api::Page},
      {"GET", "/openapi.json", false, &Api::Document},
  };
  return routes;
}

void Server::Api::Handle(const HttpRequest& request, std::shared_ptr<HttpReply> reply) {
  auto exchange = std::make_shared<Exchange>(Exchange{request, std::move(reply), {}, "other"});
  if (!options_.cors_origin.empty()) {
    exchange->headers = {{"Access-Control-Allow-Origin", options_.cors_origin}, {"Vary", "Origin"}};
  }
  try {
    Dispatch(exchange);
  } catch (const ApiError& error) {
    AnswerError(exchange, error);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInvalidInput) return AnswerError(exchange, ApiError(400, error.what()));
    LogLine(LogLevel::kError, "serve", error.what());
    AnswerError(exchange, ApiError(500, "the server failed to answer; its log says why", "", "internal_error"));
  } catch (const std::exception& error) {
    LogLine(LogLevel::kError, "serve", error.what());
    AnswerError(exchange, ApiError(500, "the server failed to answer; its log says why", "", "internal_error"));
  }
}

void Server::Api::Dispatch(const ExchangePtr& exchange) {
  const HttpRequest& request = exchange->request;
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  std::string allowed;
  for (const Route& route : Routes()) {
    if (!Matches(request.path, route.path)) continue;
    exchange->route = route.path;
    allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
    if (method != route.method) continue;
    if (route.needs_key) CheckKey(request);
    return (this->*route.handler)(exchange);
  }
  if (allowed.empty()) {
    throw ApiError(404, "there is nothing at this path; GET /openapi.json lists what there is", "", "unknown_url");
  }
  exchange->headers.emplace_back("Allow", allowed);
  if (method == "OPTIONS" && !options_.cors_origin.empty()) {
    exchange->headers.emplace_back("Access-Control-Allow-Methods", allowed);
    exchange->headers.emplace_back("Access-Control-Allow-Headers", "authorization, content-type");
    exchange->headers.emplace_back("Access-Control-Max-Age", "600");
    return Answer(exchange, 200, "text/plain", "");
  }
  throw ApiError(405, fmt::format("this path takes {} only", allowed), "", "method_not_allowed");
}

void Server::Api::CheckKey(const HttpRequest& request) const {
  if (keys_.empty()) return;
  constexpr std::string_view kScheme = "Bearer ";
  const std::string_view given = request.authorization;
  if (given.starts_with(kScheme) && IsKey(given.substr(kScheme.size()), keys_)) return;
  throw ApiError(401, "give one of the server's keys as the header Authorization: Bearer KEY", "", "invalid_api_key");
}

void Server::Api::Answer(const ExchangePtr& exchange, int status, const std::string& content_type,
                         const std::string& body) {
  exchange->reply->Send(status, content_type, body, exchange->headers);
  Log(*exchange, status, 0);
}

void Server::Api::AnswerError(const ExchangePtr& exchange, const ApiError& error) {
  if (error.retry_after_s > 0) {
    exchange->headers.emplace_back("Retry-After", fmt::format("{:.0f}", error.retry_after_s));
  }
  if (error.status == 401) exchange->headers.emplace_back("WWW-Authenticate", "Bearer");
  Answer(exchange, error.status, "application/json", JsonLine(error.ToJson()) + "\n");
}

// Neither texts nor keys, nor paths that a client made up.
void Server::Api::Log(const Exchange& exchange, int status, int64_t tokens) const {
  metrics_.CountRequest(exchange.route, status);
  if (!options_.access_log) return;
  const double ms = std::chrono::duration<double, std::milli>(Clock::now() - exchange.begun).count();
  LogInfo("serve", "request method={} route={} status={} ms={:.1f} tokens={} body_bytes={} peer={}",
          exchange.route == "other" ? "-" : exchange.request.method, exchange.route, status, ms, tokens,
          exchange.request.body.size(), exchange.request.peer);
}

void Server::Api::Models(const ExchangePtr& exchange) {
  Json list = Json::array();
  for (const ModelChoice& model : runs_.Models()) {
    list.push_back({{"id", model.id},
                    {"object", "model"},
                    {"created", model.run->created_s},
                    {"owned_by", "elrea"},
                    {"elrea",
                     {{"run", model.run->name},
                      {"method", TargetName(model.target.kind)},
                      {"context_length", model.run->ensemble->decoder().config().context_length}}}});
  }
  AnswerJson(exchange, {{"object", "list"}, {"data", list}});
}

void Server::Api::Health(const ExchangePtr& exchange) { AnswerJson(exchange, {{"status", "ok"}}); }

void Server::Api::Ready(const ExchangePtr& exchange) {
  if (closing_) throw ApiError(503, "the server is shutting down", "", "shutting_down");
  if (runs_.All().empty()) throw ApiError(503, "no run is loaded yet", "", "loading", 1);
  AnswerJson(exchange, {{"status", "ready"}});
}

void Server::Api::ShowMetrics(const ExchangePtr& exchange) {
  Answer(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", metrics_.Text());
}

void Server::Api::Tokenize(const ExchangePtr& exchange) {
  const TokenizeCall call = ParseTokenizeCall(ParseBody(exchange->request.body));
  const ModelChoice model = runs_.Resolve(call.model);
  const std::vector<int32_t> tokens =
      call.messages.empty() ? EncodeText(call.text, model) : model.run->chat->EncodePrompt(call.messages);
  Json pieces = Json::array();
  for (const int32_t token : tokens) {
    pieces.push_back(ReplaceInvalidUtf8(model.run->tokenizer->TokenBytes(token, false)));
  }
  AnswerJson(exchange, {{"model", model.id},
                        {"tokens", tokens},
                        {"pieces", pieces},
                        {"count", tokens.size()},
                        {"context_length", model.run->ensemble->decoder().config().context_length}});
}

void Server::Api::ChatCompletions(const ExchangePtr& exchange) {
  const Json body = ParseBody(exchange->request.body);
  const ModelChoice model = runs_.Resolve(ParseModelName(body));
  const CompletionCall call = ParseChatCall(body, model.run->generation, kCallLimits);
  Complete(exchange, call, model, {model.run->chat->EncodePrompt(call.messages)}, {""});
}

void Server::Api::Completions(const ExchangePtr& exchange) {
  const Json body = ParseBody(exchange->request.body);
  const ModelChoice model = runs_.Resolve(ParseModelName(body));
  const CompletionCall call = ParseCompletionCall(body, model.run->generation, kCallLimits);
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::string> texts;
  for (const TextOrTokens& prompt : call.prompts) {
    if (const auto* tokens = std::get_if<std::vector<int32_t>>(&prompt)) {
      CheckTokens(*tokens, model, "prompt");
      prompts.push_back(*tokens);
      texts.push_back(call.echo ? model.run->tokenizer->Decode(*tokens, true) : "");
    } else {
      texts.push_back(std::get<std::string>(prompt));
      prompts.push_back(EncodeText(texts.back(), model));
    }
  }
  Complete(exchange, call, model, std::move(prompts), std::move(texts));
}

JobPtr Server::Api::MakeJob(const CompletionCall& call, const ModelChoice& model, std::vector<int32_t> prompt) const {
  auto job = std::make_shared<Job>();
  job->run = model.run;
  job->target = model.target;
  job->call = call.ensemble;
  job->request.prompt = std::move(prompt);
  job->request.sampling = call.sampling;
  job->request.logit_bias = call.logit_bias;
  job->request.num_alternatives = call.num_alternatives;
  job->request.measure_disagreement = call.ensemble.disagreement;
  job->submitted = Clock::now();
  const double timeout = std::min(call.ensemble.deadline_s.value_or(1e9), options_.scheduler.request_timeout_s);
  job->deadline =
      job->submitted + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout));
  return job;
}

// One job for each choice of each prompt.
void Server::Api::Complete(const ExchangePtr& exchange, const CompletionCall& call, const ModelChoice& model,
                           std::vector<std::vector<int32_t>> prompts, std::vector<std::string> texts) {
  for (const auto& prompt : prompts) {
    CheckLength(prompt.size(), model, call.is_chat ? "messages" : "prompt");
    CheckEnsembleCall(call.ensemble, model, prompt.size());
  }
  for (const auto& [token, bias] : call.logit_bias) CheckTokens({token}, model, "logit_bias");
  CompletionCall seeded = call;
  if (!call.has_seed && call.sampling.temperature > 0) seeded.sampling.seed = RandomSeed();
  const auto reply = std::make_shared<CompletionReply>(
      exchange->reply, seeded, model, std::move(texts), exchange->headers,
      [this, exchange](int status, int64_t tokens) { Log(*exchange, status, tokens); });
  std::vector<JobPtr> jobs;
  for (const auto& prompt : prompts) {
    for (int64_t choice = 0; choice < call.n; ++choice) {
      const auto index = static_cast<int64_t>(jobs.size());
      JobPtr job = MakeJob(seeded, model, prompt);
      job->request.stream = static_cast<uint64_t>(choice);
      job->listener = reply->ListenerOf(index, static_cast<int64_t>(prompt.size()));
      jobs.push_back(std::move(job));
    }
  }
  SubmitJobs(exchange, jobs);
}

void Server::Api::SubmitJobs(const ExchangePtr& exchange, const std::vector<JobPtr>& jobs) {
  scheduler_.Submit(jobs);
  exchange->reply->OnClosed([this, jobs] { scheduler_.Cancel(jobs); });
}

}  // namespace elrea
