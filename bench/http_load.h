// What a load on the server is made of: a server process, clients that stream answers and take times, and
// statistics.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/json.h"

namespace elrea::bench {

// A child process that says its address (".. http://HOST:PORT") in its first line of standard output.
class ChildServer {
 public:
  // kUnavailable when it does not come up.
  explicit ChildServer(std::vector<std::string> command);
  ~ChildServer();  // SIGTERM, and waits
  ChildServer(const ChildServer&) = delete;
  ChildServer& operator=(const ChildServer&) = delete;

  int port() const { return port_; }
  double ResidentMib() const;
  double CpuSeconds() const;  // of all its threads so far
  int Stop();                 // the exit code

 private:
  pid_t child_ = -1;
  int port_ = 0, output_ = -1;
};

// `elrea serve` on a free port.
class ServerProcess : public ChildServer {
 public:
  // `elrea`: the program. `threads`: of its decoding.
  ServerProcess(const fs::path& elrea, const fs::path& run, int64_t threads,
                const std::vector<std::string>& options);
  double Metric(const std::string& name) const;  // of /metrics, without labels; -1: not there
};

struct LoadAnswer {
  int status = 0;           // 0: the connection failed, the stream broke off, or nothing came for kPatience_s
  std::string text, fault;  // fault: of a status of 0
  int64_t num_events = 0;   // with text
  double first_token_s = 0, total_s = 0;
  bool complete = false;  // the stream came to its end
};

constexpr int64_t kPatience_s = 600;  // of a client for the next bytes

// When a client goes away of itself: after this many events with text, or after this long; 0: it does not.
struct LeaveAfter {
  int64_t events = 0;
  double seconds = 0;
};

// A POST to /v1/completions on a connection of its own. Streams are read as they come.
LoadAnswer AskStreaming(int port, const Json& body, const LeaveAfter& leave = {});

struct WholeAnswer {
  int status = 0;  // 0: the connection failed
  std::string body;
};
WholeAnswer Ask(int port, const std::string& method, const std::string& path, const std::string& body = "");

// A client that does not behave: bytes as they are.
class RawClient {
 public:
  explicit RawClient(int port);  // throws boost::system::system_error when it is not let in
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  bool Send(std::string_view bytes);  // false: the server has closed
  void CloseSending();
  // What comes until the server closes, or for `seconds`; then the client closes.
  std::string ReceiveFor(double seconds);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Nearest rank. REQUIRES: not empty.
double Percentile(std::vector<double> values, double percent);

}  // namespace elrea::bench
