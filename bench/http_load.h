// What a load on the server is made of: a server process, clients that stream answers and take times, and
// statistics.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/json.h"

namespace elrea::bench {

// `elrea serve` as a child process on a free port.
class ServerProcess {
 public:
  // `elrea`: the program. kUnavailable when it does not come up.
  ServerProcess(const fs::path& elrea, const fs::path& run, const std::vector<std::string>& options);
  ~ServerProcess();  // SIGTERM, and waits
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  int port() const { return port_; }
  double ResidentMib() const;
  double Metric(const std::string& name) const;  // of /metrics, without labels; -1: not there
  int Stop();                                    // the exit code

 private:
  pid_t child_ = -1;
  int port_ = 0, output_ = -1;
};

struct LoadAnswer {
  int status = 0;  // 0: the connection failed or the stream broke off
  std::string text;
  int64_t num_events = 0;  // with text
  double first_token_s = 0, total_s = 0;
  bool complete = false;  // the stream came to its end
};

// A POST to /v1/completions on a connection of its own. Streams are read as they come; after `leave_after`
// events with text the client goes away (0: never).
LoadAnswer AskStreaming(int port, const Json& body, int64_t leave_after = 0);

// Nearest rank. REQUIRES: not empty.
double Percentile(std::vector<double> values, double percent);

}  // namespace elrea::bench
