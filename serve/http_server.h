// HTTP/1.1 on one thread (Boost.Beast): requests in, whole or streamed replies out. Knows nothing of models. Limits and
// deadlines are kept here: sizes of head and body, time until a whole request has come, time until a written piece is
// taken, connections at once. A client that goes away is noticed while its request is answered.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace elrea {

struct HttpLimits {
  int64_t max_connections = 1024;           // more are answered with 503 and closed
  int64_t max_header_bytes = 16 << 10;      // else 431
  int64_t max_body_bytes = 4 << 20;         // else 413
  int64_t max_pending_bytes = 8 << 20;      // of a reply that the client does not take; then the connection is cut
  double read_timeout_s = 60;               // until a whole request has come, silence before it included; else 408
  double write_timeout_s = 30;              // until a piece of a reply is taken
};

struct HttpRequest {
  std::string method, path, query;  // path and query as sent, divided at the first '?'
  std::string body;
  std::string authorization, origin;  // headers; empty when not there
  std::string peer;                   // address of the client
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// The answer to one request. Thread-safe; calls after the end, or after the client went away, do nothing.
class HttpReply {
 public:
  virtual ~HttpReply() = default;
  // The whole answer.
  virtual void Send(int status, const std::string& content_type, std::string body, HttpHeaders headers = {}) = 0;
  // Status 200 and a body in pieces, as they come.
  virtual void Start(const std::string& content_type, HttpHeaders headers = {}) = 0;
  virtual void Write(std::string piece) = 0;
  virtual void Finish() = 0;
  // `closed` is called once, on the server's thread, if the client goes away before the answer is complete.
  virtual void OnClosed(std::function<void()> closed) = 0;
};

// Called on the server's thread: must not block. The reply may be answered later, from any thread.
using HttpHandler = std::function<void(const HttpRequest& request, std::shared_ptr<HttpReply> reply)>;
// Called on the server's thread.
struct HttpCallbacks {
  HttpHandler handler;
  // The body of an error that this layer finds by itself: (status, message) -> JSON.
  std::function<std::string(int status, const std::string& message)> error_body;
  // How many connections are open, whenever that changes; may be empty.
  std::function<void(int64_t open)> on_connections = {};
};

class HttpServer {
 public:
  // Listens at once. Port 0: a free one. kInvalidInput naming the address that cannot be used.
  HttpServer(const std::string& host, int port, HttpLimits limits, HttpCallbacks callbacks);
  ~HttpServer();  // cuts what is still open
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  // No new connections but those that clients have made already, and no further request on those that are open. Answers
  // under way go on.
  void StopAccepting();
  // Waits until all answers are on their way to the clients, those to requests that have come but were not read yet
  // included; at most `seconds`.
  void WaitUntilWritten(double seconds);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::jthread thread_;
};

}  // namespace elrea
