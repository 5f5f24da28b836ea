// The routes. Each handler checks a request, and answers it or hands it to the scheduler; it runs on the HTTP server's
// thread and does not wait.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "serve/api_request.h"
#include "serve/server.h"

namespace elrea {

// One request on its way, for the access log and the metrics.
struct Exchange {
  HttpRequest request;
  std::shared_ptr<HttpReply> reply;
  HttpHeaders headers;  // that every answer to it carries
  std::string route;    // of the table, for metrics
  Clock::time_point begun = Clock::now();
};
using ExchangePtr = std::shared_ptr<Exchange>;

inline constexpr CallLimits kCallLimits;

// ApiError naming `param` when an id is none of the model's, or a prompt is empty or too long.
void CheckTokens(const std::vector<int32_t>& tokens, const ModelChoice& model, const char* param);
void CheckLength(size_t length, const ModelChoice& model, const char* param);

class Server::Api {
 public:
  Api(const ServeOptions& options, std::vector<std::string> keys, RunLoader loader, Metrics& metrics,
      RunRegistry& runs, Scheduler& scheduler);
  ~Api();

  void Handle(const HttpRequest& request, std::shared_ptr<HttpReply> reply);
  void set_closing() { closing_ = true; }

 private:
  using Handler = void (Api::*)(const ExchangePtr& exchange);
  struct Route {
    const char* method;
    const char* path;  // a last part of "*" is any one name
    bool needs_key;
    Handler handler;
  };
  static const std::vector<Route>& Routes();

  void Dispatch(const ExchangePtr& exchange);
  void CheckKey(const HttpRequest& request) const;
  void Answer(const ExchangePtr& exchange, int status, const std::string& content_type, const std::string& body);
  void AnswerJson(const ExchangePtr& exchange, const Json& body) { Answer(exchange, 200, "application/json", JsonLine(body) + "\n"); }
  void AnswerError(const ExchangePtr& exchange, const ApiError& error);
  void Log(const Exchange& exchange, int status, int64_t tokens) const;

  void ChatCompletions(const ExchangePtr& exchange);
  void Completions(const ExchangePtr& exchange);
  void Models(const ExchangePtr& exchange);
  void Tokenize(const ExchangePtr& exchange);
  void Health(const ExchangePtr& exchange);
  void Ready(const ExchangePtr& exchange);
  void ShowMetrics(const ExchangePtr& exchange);
  void Embeddings(const ExchangePtr& exchange);
  void Document(const ExchangePtr& exchange);
  void Page(const ExchangePtr& exchange);
  void ListRuns(const ExchangePtr& exchange);
  void ShowRun(const ExchangePtr& exchange);
  void AddRun(const ExchangePtr& exchange);
  void ReloadRun(const ExchangePtr& exchange);
  void RemoveRun(const ExchangePtr& exchange);

  // The last part of the path.
  std::shared_ptr<const ServedRun> NamedRun(const ExchangePtr& exchange) const;
  void CheckMayManage() const;
  void LoadRun(const ExchangePtr& exchange, const std::string& directory, const std::string& name);

  void Complete(const ExchangePtr& exchange, const CompletionCall& call, const ModelChoice& model,
                std::vector<std::vector<int32_t>> prompts, std::vector<std::string> texts);
  JobPtr MakeJob(const CompletionCall& call, const ModelChoice& model, std::vector<int32_t> prompt) const;
  void SubmitJobs(const ExchangePtr& exchange, const std::vector<JobPtr>& jobs);

  const ServeOptions options_;
  const std::vector<std::string> keys_;
  const RunLoader loader_function_;
  Metrics& metrics_;
  RunRegistry& runs_;
  Scheduler& scheduler_;
  std::atomic<bool> closing_ = false, loading_ = false;
  std::jthread loader_;  // of the run that is being loaded, or was last
};

}  // namespace elrea
