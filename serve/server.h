// The server: routes of the API, who may use them, and the parts that answer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "serve/http_server.h"
#include "serve/metrics.h"
#include "serve/scheduler.h"
#include "serve/served_run.h"

namespace elrea {

struct ServeOptions {
  std::string host = "127.0.0.1";
  int64_t port = 8080;
  std::string cors_origin = "";
  bool manage_runs = false;
  bool access_log = true;
  int64_t max_connections = 1024;
  int64_t max_body_kb = 4096;
  double read_timeout_s = 60;
  double write_timeout_s = 30;
  SchedulerOptions scheduler;
};
template <typename Visitor>
void VisitOptions(ServeOptions& o, Visitor& v) {
  v.Field("host", o.host, "address to listen on; the default is reached from this machine only");
  v.Field("port", o.port, "0 = a free one", Between(0, 65535));
  v.Field("cors_origin", o.cors_origin, "origin whose pages may call the API, or *; empty = none");
  v.Field("manage_runs", o.manage_runs, "whether runs may be added, reloaded and removed through the API");
  v.Field("access_log", o.access_log, "one line per request on standard error, without texts");
  v.Field("max_connections", o.max_connections, "more are answered 503 and closed", AtLeast(1));
  v.Field("max_body_kb", o.max_body_kb, "KiB of a request's body", AtLeast(1));
  v.Field("read_timeout_s", o.read_timeout_s, "a request must have come whole within this, silence before it included",
          Above(0));
  v.Field("write_timeout_s", o.write_timeout_s, "a client must take each piece of an answer within this", Above(0));
  v.Section("scheduler", o.scheduler);
}

// Loads a run from its folder, under a name. Called from a thread of its own.
using RunLoader = std::function<std::shared_ptr<const ServedRun>(const std::string& directory, const std::string& name)>;

class Server {
 public:
  // `keys`: whoever calls the API must give one of them; empty: everybody may. Listens at once, and says 503 until
  // there is a run.
  Server(ServeOptions options, std::vector<std::string> keys, RunLoader loader);
  ~Server();

  void Add(std::shared_ptr<const ServedRun> run);
  int port() const;
  // Decodes on the calling thread until Shutdown, then finishes what was accepted.
  void Run();
  // From any thread.
  void Shutdown();

 private:
  class Api;
  Metrics metrics_;
  RunRegistry runs_;
  Scheduler scheduler_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace elrea
