// elrea serve: runs answer over HTTP (docs/serving.md).
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cctype>
#include <ctime>
#include <thread>

#include "cli/cluster_map.h"
#include "cli/commands.h"
#include "cli/responder.h"
#include "cli/row_index.h"
#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "serve/api_keys.h"
#include "serve/server.h"

namespace elrea {
namespace {

struct ServeFlags {
  std::vector<std::string> runs, overrides;
  std::string config, keys;
};

// All that a served run points at.
struct LoadedRun {
  explicit LoadedRun(Responder r) : responder(std::move(r)) {}
  Responder responder;
  std::unique_ptr<RowIndex> rows;
};

std::shared_ptr<const ServedRun> LoadServedRun(const std::string& directory, const std::string& name,
                                               const std::vector<std::string>& overrides) {
  TargetFlags target;
  target.run = directory;
  auto loaded = std::make_shared<LoadedRun>(OpenDecodingResponder(target, overrides));
  const Responder& responder = loaded->responder;
  loaded->rows = std::make_unique<RowIndex>(RunPaths{directory}, responder.ensemble->clustering());
  auto run = std::make_shared<ServedRun>();
  run->name = name;
  run->directory = directory;
  run->tokenizer = responder.backbone.tokenizer.get();
  run->chat = responder.backbone.chat.get();
  run->ensemble = responder.ensemble.get();
  run->packed = responder.packed.get();
  run->generation = responder.config.generation;
  run->created_s = std::time(nullptr);
  run->nearest_rows = [rows = loaded->rows.get()](std::span<const float> feature, int64_t count) {
    return rows->Nearest(feature, count);
  };
  run->clusters = ClusterMap(*loaded->rows, responder.ensemble->clustering());
  const fs::path report = RunPaths{directory}.eval() / "report.txt";
  if (fs::exists(report)) run->report = ReadFile(report);
  run->owner = std::move(loaded);
  return run;
}

// "NAME=DIR" or "DIR", which is named after its last part.
std::pair<std::string, std::string> NameAndDirectory(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string directory = equals == std::string::npos ? text : text.substr(equals + 1);
  std::string name = text.substr(0, equals);
  if (equals == std::string::npos) name = fs::absolute(directory / fs::path(".")).lexically_normal().parent_path().filename();
  const bool valid = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  });
  if (valid) return {name, directory};
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("--run {}: a run is served under a name of letters, digits, '-', '_' and '.'; give "
                          "--run NAME=DIR",
                          text));
}

// Options of the server are those that begin with "serve."; the rest belongs to the runs.
ServeOptions ReadServeOptions(const ServeFlags& flags, std::vector<std::string>& run_overrides) {
  constexpr std::string_view kPrefix = "serve.";
  ServeOptions options;
  std::vector<std::string> own;
  for (const std::string& text : flags.overrides) {
    if (text.starts_with(kPrefix)) {
      own.push_back(text.substr(kPrefix.size()));
    } else {
      run_overrides.push_back(text);
    }
  }
  OptionSet(options).Load(flags.config, own);
  return options;
}

std::atomic<int> last_signal = 0;

extern "C" void NoteSignal(int signal_number) {
  if (last_signal.exchange(signal_number) != 0) ::_exit(128 + signal_number);
}

// SIGINT and SIGTERM end the server in good order, a second one at once. Handlers rather than a mask: libraries may have
// started threads that do not block the signals, and any of them may get one.
class SignalWatch {
 public:
  explicit SignalWatch(Server& server) {
    static_assert(std::atomic<int>::is_always_lock_free);
    struct sigaction action = {};
    action.sa_handler = NoteSignal;
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    thread_ = std::jthread([&server](const std::stop_token& stop) {
      while (last_signal == 0 && !stop.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
      if (last_signal != 0) server.Shutdown();
    });
  }

 private:
  std::jthread thread_;
};

void Serve(const ServeFlags& flags) {
  std::vector<std::string> run_overrides;
  const ServeOptions options = ReadServeOptions(flags, run_overrides);
  std::vector<std::pair<std::string, std::string>> runs;
  for (const std::string& text : flags.runs) runs.push_back(NameAndDirectory(text));
  const std::vector<std::string> keys = flags.keys.empty() ? std::vector<std::string>() : ReadKeys(flags.keys);
  if (keys.empty() && options.host != "127.0.0.1" && options.host != "::1") {
    LogWarning("serve", "{} is reached from other machines, and no keys are asked for; give --api-keys FILE",
               options.host);
  }
  ::signal(SIGPIPE, SIG_IGN);
  const auto load = [run_overrides](const std::string& directory, const std::string& name) {
    return LoadServedRun(directory, name, run_overrides);
  };
  Server server(options, keys, load);
  const SignalWatch signals(server);
  for (const auto& [name, directory] : runs) {
    server.Add(WithContext("loading the run " + name, [&, &name = name, &directory = directory] {
      return load(directory, name);
    }));
  }
  // To standard output and at once, so that a program that asked for port 0 can read it.
  const bool v6 = options.host.find(':') != std::string::npos;
  std::printf("%s\n", fmt::format("http://{}{}{}:{}", v6 ? "[" : "", options.host, v6 ? "]" : "", server.port()).c_str());
  std::fflush(stdout);
  server.Run();
}

std::string ServerOptionsHelp() {
  ServeOptions defaults;
  return "Options of the server, for --config FILE or --set serve.NAME=VALUE:\n" + OptionSet(defaults).Help();
}

}  // namespace

void AddServeCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<ServeFlags>();
  CLI::App* command =
      app.add_subcommand("serve", "answer over HTTP: OpenAI's API, and a page to chat and look around");
  command
      ->add_option("--run", flags->runs,
                   "a run's folder, perhaps with the name it is served under; repeatable")
      ->required()
      ->type_name("[NAME=]DIR")
      ->take_all()
      ->expected(1);
  const auto add = [&](const char* flag, const char* option, const char* type, const char* help) {
    const std::string prefix = std::string("serve.") + option + "=";
    command
        ->add_option_function<std::string>(
            flag, [flags, prefix](const std::string& value) { flags->overrides.push_back(prefix + value); },
            help)
        ->type_name(type);
  };
  add("--host", "host", "ADDRESS", "address to listen on (default 127.0.0.1: this machine only)");
  add("--port", "port", "N", "port to listen on (default 8080; 0: a free one, which is printed)");
  command->add_option("--api-keys", flags->keys, "file of keys, one per line; clients must give one of them")
      ->type_name("FILE");
  command->add_option("--config", flags->config, "YAML file of the server's options")->type_name("FILE");
  command
      ->add_option_function<std::vector<std::string>>(
          "--set",
          // Added to what --host and --port came to.
          [flags](const std::vector<std::string>& values) {
            flags->overrides.insert(flags->overrides.end(), values.begin(), values.end());
          },
          "override one option, of the server (serve.scheduler.max_queue=8) or of the runs "
          "(routing.temperature=0.5); repeatable")
      ->type_name("NAME=VALUE")
      ->take_all()
      ->expected(1);
  command->footer(ServerOptionsHelp());
  command->callback([&invocation, flags] { invocation.action = [flags] { Serve(*flags); }; });
}

}  // namespace elrea
