// `elrea serve` under load, over HTTP, with SmolLM2-135M: clients stream greedy answers of a run's ensemble.
//   one          one client, answer after answer: tokens/s, time to first token
//   many         16 clients at once: tokens/s (peer: one client), p99 of the time to first token (peer: one
//   client's) overload     clients enough for ten times the capacity: answers and refusals, memory before and
//   after disconnects  clients that leave after a random number of tokens: rows and memory afterwards
// First what must hold, else the program ends with status 1: no request is lost, every stream is the one that
// was asked for (it begins with its own prompt, echoed), refusals are 429, a request ends within its
// deadline, nothing is left running, memory does not grow.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "bench/bench_support.h"
#include "bench/http_load.h"
#include "core/error.h"
#include "core/log.h"
#include "core/rng.h"
#include "core/temp_dir.h"

namespace elrea::bench {
namespace {

struct Case {
  std::string json_path, run, elrea;
  int64_t clients = 16, requests = 48, new_tokens = 64, disconnects = 200;
  double overload_s = 30, deadline_s = 20;
};

// What the clients saw.
struct Tally {
  std::vector<double> first_token_s;
  int64_t tokens = 0, answered = 0, refused = 0, lost = 0, mixed_up = 0, late = 0;
  double seconds = 0;
  double TokensPerSecond() const { return static_cast<double>(tokens) / seconds; }
};

std::string PromptOf(int64_t index) {
  return fmt::format("Question {}: Tom has {} apples and buys {} more. How many apples has Tom now? Answer:",
                     index, 3 + index * 7 % 50, 2 + index * 11 % 60);
}

Json RequestOf(const Case& c, int64_t index) {
  return {{"prompt", PromptOf(index)},
          {"max_tokens", c.new_tokens},
          {"temperature", 0},
          {"stream", true},
          {"echo", true},
          {"elrea", {{"deadline_s", c.deadline_s}}}};
}

void Count(const Case& c, int64_t index, const LoadAnswer& answer, Tally& tally) {
  // An answer may end a step after its deadline, and the last bytes have to travel.
  if (answer.total_s > c.deadline_s + 2) ++tally.late;
  if (answer.status == 429) {
    ++tally.refused;
  } else if (answer.status != 200 || !answer.complete) {
    ++tally.lost;
  } else {
    ++tally.answered;
    if (!answer.text.starts_with(PromptOf(index))) ++tally.mixed_up;
    tally.tokens += std::max<int64_t>(answer.num_events - 1, 0);  // the first event is the echo
    tally.first_token_s.push_back(answer.first_token_s);
  }
}

// `clients` threads ask until `next` gives no more.
Tally Load(const Case& c, const ServerProcess& server, int64_t clients, int64_t offset,
           const std::function<bool(int64_t asked)>& more) {
  Tally tally;
  std::mutex mutex;
  std::condition_variable pause;
  constexpr auto kRetryPause = std::chrono::milliseconds(250);  // of a client that was refused
  std::atomic<int64_t> asked = 0;
  const double begun = NowSeconds();
  {
    std::vector<std::jthread> threads;
    for (int64_t i = 0; i < clients; ++i) {
      threads.emplace_back([&] {
        for (int64_t index = asked++; more(index); index = asked++) {
          const LoadAnswer answer = AskStreaming(server.port(), RequestOf(c, offset + index));
          std::unique_lock lock(mutex);
          Count(c, offset + index, answer, tally);
          if (answer.status != 429) continue;
          pause.wait_for(lock, kRetryPause, [] { return false; });
        }
      });
    }
  }
  tally.seconds = NowSeconds() - begun;
  return tally;
}

Tally LoadRequests(const Case& c, const ServerProcess& server, int64_t clients, int64_t offset,
                   int64_t requests) {
  return Load(c, server, clients, offset, [&](int64_t asked) { return asked < requests; });
}

void Disconnect(const Case& c, const ServerProcess& server) {
  std::atomic<int64_t> next = 0;
  std::vector<std::jthread> threads;
  for (int64_t i = 0; i < c.clients; ++i) {
    threads.emplace_back([&] {
      for (int64_t index = next++; index < c.disconnects; index = next++) {
        const auto leave_after =
            static_cast<int64_t>(1 + RandomBits(5, 0, static_cast<uint64_t>(index)) % 20);
        AskStreaming(server.port(), RequestOf(c, 1'000'000 + index), leave_after);
      }
    });
  }
}

// True when nothing is left running within a moment.
bool ComesToRest(const ServerProcess& server) {
  for (int i = 0; i < 200; ++i) {
    if (server.Metric("elrea_active_requests") == 0 && server.Metric("elrea_waiting_requests") == 0 &&
        server.Metric("elrea_kv_bytes") == 0) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

void Report(const char* name, const Tally& t) {
  fmt::print(stderr,
             "{}: {} answered, {} refused, {} lost, {} mixed up, {} late; {:.1f} tokens/s, first token p50 "
             "{:.3f} s, "
             "p99 {:.3f} s\n",
             name, t.answered, t.refused, t.lost, t.mixed_up, t.late, t.TokensPerSecond(),
             t.first_token_s.empty() ? 0 : Percentile(t.first_token_s, 50),
             t.first_token_s.empty() ? 0 : Percentile(t.first_token_s, 99));
}

bool Sound(const Tally& t) { return t.lost == 0 && t.mixed_up == 0 && t.late == 0; }

// A small run of our own: four tasks' worth of word problems, one epoch. Its answers are poor; the work is
// the same.
fs::path MakeRun(const Case& c, const TempDir& folder) {
  WriteWordProblems(folder / "rows.jsonl", 96, 1);
  const std::string command = fmt::format("'{}' --log-level warning run --out '{}' --config '{}'", c.elrea,
                                          (folder / "run").string(), (folder / "run.yaml").string());
  WriteFileAtomically(
      folder / "run.yaml",
      fmt::format("model: {{path: smollm2}}\ndata: {{files: [\"{}\"]}}\nfinetune: {{epochs: 1}}\n"
                  "cluster: {{birch: {{num_clusters: 4}}}}\n",
                  (folder / "rows.jsonl").string()));
  if (std::system(command.c_str()) != 0) throw Error(ErrorKind::kUnavailable, "no run to serve: " + command);
  return folder / "run";
}

int Run(Case c) {
  const TempDir folder;
  if (c.elrea.empty()) c.elrea = fs::read_symlink("/proc/self/exe").parent_path() / "elrea";
  const fs::path run = c.run.empty() ? MakeRun(c, folder) : fs::path(c.run);
  ServerProcess server(c.elrea, run, {"--set", "serve.access_log=false"});
  LoadRequests(c, server, 4, 900'000, 4);  // warms the memory up
  const Tally one = LoadRequests(c, server, 1, 0, std::max<int64_t>(c.requests / 6, 4));
  Report("one client", one);
  const Tally many = LoadRequests(c, server, c.clients, 1000, c.requests);
  Report("many clients", many);
  const double before_mib = server.ResidentMib();
  const double until = NowSeconds() + c.overload_s;
  const Tally overload =
      Load(c, server, 10 * c.clients, 10'000, [&](int64_t) { return NowSeconds() < until; });
  Report("overload", overload);
  Disconnect(c, server);
  const bool at_rest = ComesToRest(server);
  const double after_mib = server.ResidentMib();
  fmt::print(
      stderr,
      "disconnects: {} clients, {}; resident memory {:.0f} MiB before the overload, {:.0f} after all\n",
      c.disconnects, at_rest ? "nothing left running" : "REQUESTS LEFT RUNNING", before_mib, after_mib);
  const int exit_code = server.Stop();

  Json results = Json::array();
  const double one_p50 = Percentile(one.first_token_s, 50), many_p99 = Percentile(many.first_token_s, 99);
  results.push_back(Measurement("serve_one_client", "tokens/s", one.TokensPerSecond()));
  results.push_back(Measurement("serve_many_clients", "tokens/s", many.TokensPerSecond(),
                                Peer{"one client", one.TokensPerSecond()}));
  results.push_back(Measurement("serve_first_token_p99", "s", many_p99, Peer{"one client, p50", one_p50}));
  results.push_back(Measurement("serve_overload_answered", "requests/s",
                                static_cast<double>(overload.answered) / overload.seconds));
  results.push_back(Measurement("serve_memory_after_load", "MiB", after_mib, Peer{"before", before_mib}));
  WriteMeasurements(c.json_path, results);
  const bool sound = Sound(one) && Sound(many) && Sound(overload) && at_rest && exit_code == 0;
  if (!sound) fmt::print(stderr, "the server lost, mixed up or delayed requests, or did not come to rest\n");
  return sound ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("elrea serve under load");
  Case c;
  app.add_option("--json", c.json_path, "file the measurements are written to");
  app.add_option("--run", c.run, "a run to serve (default: a small one, made for it)");
  app.add_option("--elrea", c.elrea, "the program (default: beside this one)");
  app.add_option("--clients", c.clients, "clients at once")->check(CLI::Range(2, 1000));
  app.add_option("--requests", c.requests, "that they make in all")->check(CLI::Range(1, 1000000));
  app.add_option("--new-tokens", c.new_tokens, "of each answer, at most")->check(CLI::Range(1, 100000));
  app.add_option("--disconnects", c.disconnects, "clients that leave")->check(CLI::Range(0, 1000000));
  app.add_option("--overload-s", c.overload_s, "how long ten times as many clients ask")
      ->check(CLI::Range(1, 100000));
  app.add_option("--deadline-s", c.deadline_s, "of each request")->check(CLI::Range(1, 100000));
  CLI11_PARSE(app, argc, argv);
  return RunGuarded([&] { return Run(c); });
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) { return elrea::bench::Main(argc, argv); }
