#include "bench/serve_abuse.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include "bench/bench_support.h"
#include "core/rng.h"

namespace elrea::bench {
namespace {

void Pause(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

std::string BytesOf(const Question& question) {
  const std::string body = JsonLine(question.body);
  return "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

// How long one question takes; -1 when the answer is not its own or did not come whole.
double TimeOfOne(const ServerProcess& server, const Questions& questions) {
  const Tally tally = Load(server, questions, {.seconds = 60, .most = 1});
  return tally.sound() && tally.answered == 1 ? tally.total_s[0] : -1;
}

// Sockets and nothing else: a file descriptor for each.
class SilentClients {
 public:
  SilentClients(int port, int64_t count) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int64_t i = 0; i < count; ++i) {
      const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (client < 0) return;
      sockets_.push_back(client);
      if (::connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
      ++count_;
    }
  }
  ~SilentClients() {
    for (const int client : sockets_) ::close(client);
  }
  int64_t count() const { return count_; }  // that were let in, before one was not

 private:
  std::vector<int> sockets_;
  int64_t count_ = 0;
};

}  // namespace

void LeaveAtRandom(const ServerProcess& server, const Questions& questions, int64_t clients,
                   int64_t threads) {
  std::atomic<int64_t> next = 0;
  std::vector<std::jthread> all;
  for (int64_t i = 0; i < threads; ++i) {
    all.emplace_back([&] {
      for (int64_t index = next++; index < clients; index = next++) {
        const uint64_t random = RandomBits(5, 0, static_cast<uint64_t>(index));
        const Question question = questions.At(index);
        if (random % 3 == 0) {
          AskStreaming(server.port(), question.body,
                       {.events = static_cast<int64_t>(1 + (random >> 8) % 20)});
        } else if (random % 3 == 1) {
          AskStreaming(server.port(), question.body,
                       {.seconds = static_cast<double>(1 + (random >> 8) % 500) / 1e3});
        } else {
          RawClient client(server.port());
          client.Send(BytesOf(question));
          Pause(static_cast<double>((random >> 8) % 300) / 1e3);
          client.CloseSending();
          client.ReceiveFor(10);  // the server closes
        }
      }
    });
  }
}

bool ComesToRest(const ServerProcess& server) {
  for (int i = 0; i < 200; ++i) {
    bool at_rest = true;
    for (const char* name :
         {"elrea_active_requests", "elrea_waiting_requests", "elrea_active_rows", "elrea_kv_bytes"}) {
      at_rest = at_rest && server.Metric(name) == 0;
    }
    if (at_rest) return true;
    Pause(0.05);
  }
  return false;
}

Crowd OpenMany(const ServerProcess& server, const Questions& questions, int64_t connections) {
  Crowd crowd;
  crowd.mib_before = server.ResidentMib();
  const SilentClients clients(server.port(), connections);
  crowd.refused = connections - clients.count();
  crowd.answer_s = TimeOfOne(server, questions);
  crowd.open = static_cast<int64_t>(server.Metric("elrea_connections"));
  crowd.mib_during = server.ResidentMib();
  return crowd;
}

Slow SendSlowly(const ServerProcess& server, const Questions& questions, int64_t clients,
                double read_timeout_s) {
  Slow slow;
  const std::string bytes = BytesOf(questions.At(0));
  std::vector<std::unique_ptr<RawClient>> all;
  for (int64_t i = 0; i < clients; ++i) all.push_back(std::make_unique<RawClient>(server.port()));
  std::jthread asks([&] { slow.answer_s = TimeOfOne(server, questions); });
  const double step_s = read_timeout_s / 10;
  for (size_t at = 0; at < 15; ++at) {
    for (auto& client : all) client->Send(bytes.substr(at, 1));
    Pause(step_s);
  }
  asks.join();
  for (auto& client : all) {
    const std::string answer = client->ReceiveFor(0.5);
    const bool ended = answer.starts_with("HTTP/1.1 408") || !client->Send("x") || !client->Send("x");
    ++(ended ? slow.timed_out : slow.left_open);
  }
  return slow;
}

int64_t RaiseFileLimit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::max(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, 65536));
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int64_t>(limit.rlim_cur);
}

}  // namespace elrea::bench
