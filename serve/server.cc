#include "serve/server.h"

#include "core/log.h"
#include "serve/api.h"

namespace elrea {

Server::Server(ServeOptions options, std::vector<std::string> keys, RunLoader loader)
    : scheduler_(options.scheduler, metrics_),
      api_(std::make_unique<Api>(options, std::move(keys), std::move(loader), metrics_, runs_, scheduler_)) {
  const HttpLimits limits = {.max_connections = options.max_connections,
                             .max_body_bytes = options.max_body_kb << 10,
                             .read_timeout_s = options.read_timeout_s,
                             .write_timeout_s = options.write_timeout_s};
  http_ = std::make_unique<HttpServer>(
      options.host, static_cast<int>(options.port), limits,
      HttpCallbacks{
          .handler = [this](const HttpRequest& request,
                            std::shared_ptr<HttpReply> reply) { api_->Handle(request, std::move(reply)); },
          .error_body = [](int status,
                           const std::string& message) { return JsonLine(ApiError(status, message).ToJson()) + "\n"; },
          .on_connections = [this](int64_t open) { metrics_.connections.Set(static_cast<double>(open)); }});
}

Server::~Server() = default;

void Server::Add(std::shared_ptr<const ServedRun> run) { runs_.Put(std::move(run)); }

int Server::port() const { return http_->port(); }

void Server::Run() {
  scheduler_.Run();
  constexpr double kFlush_s = 5;
  http_->WaitUntilWritten(kFlush_s);
}

// New requests on open connections are still answered: with 503.
void Server::Shutdown() {
  LogInfo("serve", "shutting down: requests that were accepted are finished, new ones refused");
  api_->set_closing();
  http_->StopAccepting();
  scheduler_.Drain();
}

}  // namespace elrea
