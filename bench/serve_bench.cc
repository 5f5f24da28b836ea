// `elrea serve` under load, over HTTP, with SmolLM2-135M: clients stream answers of a run's ensemble.
//   rates        in turns, one client and 16 at once, each asking again when it is answered: prompts never
//                seen before (routing included), the same prompts again, and the base adapter alone; --rates
//                chooses. tokens/s (peer: one client), 99th percentile of the time to first token (peer: one
//                client's median)
//   burst        16 clients that begin at the same moment: the longest time to first token
//   PEFT         16 requests at once, here and at a PEFT + FastAPI server of the same ensemble
//   overload     ten times as many requests as were answered before, whether others are answered or not
//   abuse        clients that leave, thousands of silent connections, slow senders
//   memory       resident memory while ten times the capacity is offered for --minutes
// --parts chooses. What must hold makes the program end with status 1 where it does not: no request lost or
// late, no stream with anything but its own content, refusals are 429, nothing left running. Times never do.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "bench/bench_support.h"
#include "bench/serve_abuse.h"
#include "bench/serve_load.h"
#include "core/error.h"
#include "core/log.h"
#include "core/temp_dir.h"

namespace elrea::bench {
namespace {

struct Case {
  std::string json_path, run, elrea, peer_model;
  std::vector<std::string> parts = {"rates", "burst", "peft", "overload", "abuse", "memory"};
  std::vector<std::string> rates = {"new", "known", "base"};
  int64_t clients = 16, rounds = 2, new_tokens = 64, disconnects = 1000, connections = 10000, slow = 200;
  int64_t threads = 2, peer_requests = 4;
  double seconds = 20, overload_s = 30, deadline_s = 60, minutes = 1;
};

bool Has(const std::vector<std::string>& names, const char* name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr double kReadTimeout_s = 10;

// Numbers of prompts that no two parts of the program share.
int64_t FreshPrompts() {
  static int64_t part = 0;
  return 1'000'000 * ++part;
}

Questions Fresh(const Case& c, const std::vector<Mark>& marks) {
  return {.marks = marks, .first = FreshPrompts(), .new_tokens = c.new_tokens, .deadline_s = c.deadline_s};
}

struct Rates {
  Tally one, many;  // rates are the rounds' means
};

// One kind of question by one client and by many, in turns.
Rates Compare(const Case& c, const ServerProcess& server, const std::string& name,
              const Questions& questions) {
  Rates rates;
  for (int64_t round = 0; round < c.rounds; ++round) {
    Questions asked = questions;
    if (asked.num_prompts == 0) asked.first = FreshPrompts();
    const Tally one = Load(server, asked, {.clients = 1, .seconds = c.seconds});
    const double answer_s = one.total_s.empty() ? 1 : Median(one.total_s);
    if (asked.num_prompts == 0) asked.first = FreshPrompts();
    // They begin as they would end if they took turns, so that the start is no burst.
    const Tally many = Load(server, asked,
                            {.clients = c.clients,
                             .seconds = 2 * c.seconds,
                             .ramp_s = answer_s * static_cast<double>(c.clients) / 2});
    rates.one.Add(one);
    rates.many.Add(many);
    const auto rounds = static_cast<double>(c.rounds);
    rates.one.tokens_per_s += one.tokens_per_s / rounds;
    rates.one.tokens_per_cpu_s += one.tokens_per_cpu_s / rounds;
    rates.many.tokens_per_s += many.tokens_per_s / rounds;
    rates.many.tokens_per_cpu_s += many.tokens_per_cpu_s / rounds;
  }
  Report(name + ", one client", rates.one);
  Report(fmt::format("{}, {} clients", name, c.clients), rates.many);
  return rates;
}

void Record(std::string name, const Rates& rates, Json& results) {
  std::replace(name.begin(), name.end(), ' ', '_');
  results.push_back(Measurement("serve_" + name + "_tokens", "tokens/s", rates.many.tokens_per_s,
                                Peer{"one client", rates.one.tokens_per_s}));
  results.push_back(Measurement("serve_" + name + "_tokens_cpu", "tokens/processor s",
                                rates.many.tokens_per_cpu_s, Peer{"one client", rates.one.tokens_per_cpu_s}));
  if (rates.one.first_token_s.empty() || rates.many.first_token_s.empty()) return;
  results.push_back(Measurement("serve_" + name + "_first_token_p99", "s",
                                Percentile(rates.many.first_token_s, 99),
                                Peer{"one client, median", Median(rates.one.first_token_s)}));
}

// Prompts never seen, seen before, and the base adapter alone. `capacity`: answers/s of new prompts, where they are asked.
bool CompareAll(const Case& c, const ServerProcess& server, const std::vector<Mark>& marks, double& capacity,
                Json& results) {
  Questions known = Fresh(c, marks), base = Fresh(c, marks);
  known.num_prompts = c.clients;
  base.model = "bench/base";
  bool sound = true;
  const auto compare = [&](const char* name, const Questions& questions) {
    const Rates rates = Compare(c, server, name, questions);
    Record(name, rates, results);
    sound = sound && rates.one.sound() && rates.many.sound();
    return rates.many.tokens_per_s;
  };
  if (Has(c.rates, "new")) capacity = compare("new prompts", Fresh(c, marks)) / static_cast<double>(c.new_tokens);
  if (Has(c.rates, "known")) {
    Load(server, known, {.clients = 2, .seconds = 3600, .most = c.clients});  // routes them
    compare("known prompts", known);
  }
  if (Has(c.rates, "base")) compare("base adapter", base);
  return sound;
}

// Requests/s of ours and of PEFT's server, all clients once at the same moment.
bool ComparePeft(const Case& c, const ServerProcess& server, const fs::path& run,
                 const std::vector<Mark>& marks, Json& results) {
  const auto python = PeerPython();
  if (!python || c.peer_model.empty()) {
    fmt::print(stderr, "PEFT + FastAPI: left out; needs ELREA_PEER_PYTHON and --peer-model\n");
    return true;
  }
  const ChildServer peer({*python, PeerScript("peft_serve.py"), "--model", c.peer_model, "--run",
                          run.string(), "--threads", std::to_string(c.threads)});
  const double cpu_before = server.CpuSeconds();
  const Tally ours =
      Load(server, Fresh(c, marks), {.clients = c.clients, .seconds = 3600, .most = c.clients});
  const double cpu_s = server.CpuSeconds() - cpu_before;
  Report("as PEFT's server is asked", ours);
  // It answers one by one: its rate does not depend on how many ask.
  const PeerTimes theirs = AskPeer(peer, Fresh(c, marks), c.peer_requests);
  const auto answered = static_cast<double>(ours.answered), peers = static_cast<double>(c.peer_requests);
  results.push_back(Measurement("serve_requests", "requests/s", answered / ours.seconds,
                                Peer{"PEFT + FastAPI", peers / theirs.seconds}));
  results.push_back(Measurement("serve_requests_cpu", "requests/processor s", answered / cpu_s,
                                Peer{"PEFT + FastAPI", peers / theirs.cpu_s}));
  return ours.sound();
}

// Ten times as many requests as can be answered, with deadlines.
Tally LoadTenfold(const Case& c, const ServerProcess& server, Questions questions, double capacity, double seconds) {
  questions.deadline_s = std::min(c.deadline_s, 20.0);
  const double offered = 10 * capacity;
  const auto clients = static_cast<int64_t>(offered * 2) + 10 * c.clients;
  return Load(server, questions, {.clients = clients, .seconds = seconds, .offered_per_s = offered});
}

bool Overload(const Case& c, const ServerProcess& server, const std::vector<Mark>& marks, double capacity,
              Json& results) {
  const Tally tally = LoadTenfold(c, server, Fresh(c, marks), capacity, c.overload_s);
  Report(fmt::format("overload, {:.1f} requests/s offered", 10 * capacity), tally);
  const double all = static_cast<double>(tally.answered + tally.refused + tally.lost);
  results.push_back(
      Measurement("serve_overload_offered", "requests/s", all / tally.seconds, Peer{"capacity", capacity}));
  results.push_back(Measurement("serve_overload_answered", "requests/s",
                                static_cast<double>(tally.answered) / tally.seconds,
                                Peer{"capacity", capacity}));
  return tally.sound();
}

double CachesMib(const ServerProcess& server) {
  return (server.Metric("elrea_prompt_cache_bytes") + server.Metric("elrea_router_cache_bytes")) / (1 << 20);
}

bool Abuse(const Case& c, const ServerProcess& server, const std::vector<Mark>& marks, Json& results) {
  Questions few = Fresh(c, marks);
  few.num_prompts = 64;  // most are routed already: the clients leave while they are answered
  const auto memory = [&] { return server.ResidentMib() - CachesMib(server); };
  const double before_mib = memory();
  LeaveAtRandom(server, few, c.disconnects, 2 * c.clients);
  const bool at_rest = ComesToRest(server);
  const double after_mib = memory();
  fmt::print(
      stderr,
      "{} clients left: {}; resident memory without the caches {:.0f} MiB before, {:.0f} after\n",
      c.disconnects, at_rest ? "nothing left running" : "REQUESTS LEFT RUNNING", before_mib, after_mib);
  results.push_back(
      Measurement("serve_memory_after_disconnects", "MiB", after_mib, Peer{"before", before_mib}));
  const Crowd crowd = OpenMany(server, few, c.connections);
  fmt::print(
      stderr,
      "{} silent connections: {} open, {} not let in; a request among them took {:.2f} s; {:.0f} MiB before, "
      "{:.0f} during\n",
      c.connections, crowd.open, crowd.refused, crowd.answer_s, crowd.mib_before, crowd.mib_during);
  const Slow slow = SendSlowly(server, few, c.slow, kReadTimeout_s);
  fmt::print(stderr, "{} slow senders: {} timed out, {} left open; a request among them took {:.2f} s\n",
             c.slow, slow.timed_out, slow.left_open, slow.answer_s);
  return at_rest && crowd.answer_s >= 0 && slow.answer_s >= 0 && slow.left_open == 0;
}

// Memory of the first and the last fifth of the samples under ten times the capacity, without what the caches of prompts
// and features hold, which fill up first.
bool Memory(const Case& c, const ServerProcess& server, const std::vector<Mark>& marks, double capacity, Json& results) {
  const Questions questions = Fresh(c, marks);
  std::vector<double> samples;
  Tally all;
  double cache_mib = 0;
  constexpr double kPart_s = 10;
  const auto parts = std::max<int64_t>(5, static_cast<int64_t>(c.minutes * 60 / kPart_s));
  for (int64_t part = 0; part < parts; ++part) {
    Questions asked = questions;
    asked.first += part * 10'000;
    all.Add(LoadTenfold(c, server, asked, capacity, kPart_s));
    cache_mib = CachesMib(server);
    samples.push_back(server.ResidentMib() - cache_mib);
  }
  Report("memory", all);
  const auto fifth = static_cast<int64_t>(samples.size() / 5);
  const double first = Median({samples.begin(), samples.begin() + fifth});
  const double last = Median({samples.end() - fifth, samples.end()});
  fmt::print(
      stderr,
      "memory over {:.1f} min: without the caches (at last {:.0f} MiB) {:.0f} MiB in the "
      "first fifth, {:.0f} in the last, most {:.0f}\n",
      all.seconds / 60, cache_mib, first, last,
      *std::max_element(samples.begin(), samples.end()));
  results.push_back(Measurement("serve_memory_last_fifth", "MiB", last, Peer{"first fifth", first}));
  return all.sound();
}

// A small run of our own: word problems, one epoch. Its answers are poor; the work is the same.
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
  const int64_t files = RaiseFileLimit();
  c.connections = std::min(c.connections, files - 500);
  ServerProcess server(
      c.elrea, run, c.threads,
      {"--set", "serve.access_log=false", "--set", fmt::format("serve.max_connections={}", files - 100),
       "--set", fmt::format("serve.read_timeout_s={}", kReadTimeout_s)});
  const std::vector<Mark> marks = FindMarks(server.port());
  Json results = Json::array();
  Load(server, Fresh(c, marks), {.clients = 4, .seconds = 3600, .most = 4});  // warms the memory up

  const auto wanted = [&](const char* part) { return Has(c.parts, part); };
  bool sound = true;
  double capacity = 0;
  if (wanted("rates")) sound = CompareAll(c, server, marks, capacity, results);
  if (wanted("burst") || capacity == 0) {
    const Tally burst =
        Load(server, Fresh(c, marks), {.clients = c.clients, .seconds = 3600, .most = c.clients});
    Report("burst", burst);
    sound = burst.sound() && sound;
    if (capacity == 0) capacity = static_cast<double>(burst.answered) / burst.seconds;
  }
  if (wanted("peft")) sound = ComparePeft(c, server, run, marks, results) && sound;
  if (wanted("overload")) sound = Overload(c, server, marks, capacity, results) && sound;
  if (wanted("abuse")) sound = Abuse(c, server, marks, results) && sound;
  if (wanted("memory")) sound = Memory(c, server, marks, capacity, results) && sound;
  sound = server.Stop() == 0 && sound;
  WriteMeasurements(c.json_path, results);
  if (!sound) fmt::print(stderr, "the server lost, mixed up or delayed requests, or did not come to rest\n");
  return sound ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("elrea serve under load");
  Case c;
  app.add_option("--json", c.json_path, "file the measurements are written to");
  app.add_option("--run", c.run, "a run to serve (default: a small one, made for it)");
  app.add_option("--elrea", c.elrea, "the program (default: beside this one)");
  app.add_option("--peer-model", c.peer_model,
                 "a Hugging Face directory of the run's model, for PEFT's server");
  app.add_option("--parts", c.parts, "what to measure, separated by commas (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember({"rates", "burst", "peft", "overload", "abuse", "memory"}));
  app.add_option("--rates", c.rates, "of which prompts, separated by commas (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember({"new", "known", "base"}));
  app.add_option("--threads", c.threads, "of each server; 1 where the machine is busy with other work")
      ->check(CLI::Range(1, 64));
  app.add_option("--peer-requests", c.peer_requests, "that PEFT's server is asked")
      ->check(CLI::Range(1, 1000));
  app.add_option("--clients", c.clients, "clients at once")->check(CLI::Range(2, 1000));
  app.add_option("--rounds", c.rounds, "turns of one client and many")->check(CLI::Range(1, 100));
  app.add_option("--seconds", c.seconds, "of one client's turn; many have twice that")
      ->check(CLI::Range(1, 10000));
  app.add_option("--new-tokens", c.new_tokens, "of each answer")->check(CLI::Range(1, 1000));
  app.add_option("--disconnects", c.disconnects, "clients that leave")->check(CLI::Range(0, 1000000));
  app.add_option("--connections", c.connections, "silent connections, as far as open files allow")
      ->check(CLI::Range(0, 60000));
  app.add_option("--slow", c.slow, "clients that send byte by byte")->check(CLI::Range(0, 10000));
  app.add_option("--overload-s", c.overload_s, "how long ten times the capacity is offered")
      ->check(CLI::Range(1, 100000));
  app.add_option("--deadline-s", c.deadline_s, "of each request")->check(CLI::Range(1, 100000));
  app.add_option("--minutes", c.minutes, "of the memory's observation")->check(CLI::Range(0.1, 10000.0));
  CLI11_PARSE(app, argc, argv);
  return RunGuarded([&] { return Run(c); });
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) { return elrea::bench::Main(argc, argv); }
