// elrea chat: a conversation line by line, on a terminal or through a pipe.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "cli/commands.h"
#include "cli/responder.h"
#include "core/error.h"
#include "core/text.h"

namespace elrea {
namespace {

constexpr const char* kHelp =
    "/reset forgets the conversation, /weights shows who answered the last turn, /quit ends (as does end of "
    "input)";

class Conversation {
 public:
  explicit Conversation(Responder responder)
      : responder_(std::move(responder)),
        prefixes_(responder_.MakePrefixCache()),
        generator_(responder_.MakeGenerator(&prefixes_)) {}

  // False when the conversation is over.
  bool Take(const std::string& line) {
    if (line == "/quit") return false;
    if (line == "/reset") {
      messages_.clear();
      Note("the conversation starts anew");
    } else if (line == "/weights") {
      ShowWeights();
    } else if (line.starts_with("/")) {
      Note(kHelp);
    } else if (!line.empty()) {
      Answer(line);
    }
    return true;
  }

 private:
  static void Note(const std::string& text) { fmt::print(stderr, "{}\n", text); }

  // A turn that cannot be answered is taken back, so that the next one still can.
  void Answer(const std::string& line) {
    messages_.push_back({"user", line});
    try {
      const std::vector<int32_t> prompt = responder_.backbone.chat->EncodePrompt(messages_);
      MethodPlan plan = PlanMethod(*responder_.method, *responder_.ensemble, {prompt}, &prefixes_);
      if (responder_.method->routed) routing_ = plan.routings[0];
      const auto completions = generator_.Run({{prompt, plan.members[0], responder_.config.generation}},
                                              [](size_t, const std::string& piece) {
                                                std::fputs(piece.c_str(), stdout);
                                                return std::fflush(stdout) == 0;
                                              });
      std::printf("\n");
      std::fflush(stdout);
      messages_.push_back({"assistant", completions[0].text});
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kInvalidInput) throw;
      messages_.pop_back();
      Note(fmt::format("{}; /reset makes room", error.what()));
    }
  }

  void ShowWeights() const {
    if (!responder_.method->routed) return Note("everything is answered by: " + responder_.method->help);
    if (!routing_) return Note("nothing was answered yet");
    std::vector<std::vector<std::string>> table = {
        {"adapter", "weight", "cosine"}, {"base", fmt::format("{:.3f}", routing_->base_weight), ""}};
    for (size_t c = 0; c < routing_->weights.size(); ++c) {
      table.push_back({fmt::format("expert {}", c), fmt::format("{:.3f}", routing_->weights[c]),
                       fmt::format("{:.3f}", routing_->cosines[c])});
    }
    std::fputs(FormatTable(table).c_str(), stdout);
    std::fflush(stdout);
  }

  Responder responder_;
  PrefixCache prefixes_;  // earlier turns, and what routing read
  Generator generator_;
  std::vector<ChatMessage> messages_;
  std::optional<Routing> routing_;
};

void Chat(const TargetFlags& target, const SamplingFlags& sampling) {
  Conversation conversation(OpenDecodingResponder(target, sampling.overrides));
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  if (terminal) fmt::print(stderr, "{}\n", kHelp);
  std::string line;
  do {
    if (terminal) fmt::print(stderr, "> ");
    if (!std::getline(std::cin, line)) break;
  } while (conversation.Take(Trim(ReplaceInvalidUtf8(line))));
}

}  // namespace

void AddChatCommand(CLI::App& app, Invocation& invocation) {
  struct Flags {
    TargetFlags target;
    SamplingFlags sampling;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("chat", "talk to a model or a run, line by line");
  AddTargetFlags(*command, flags->target);
  AddSamplingFlags(*command, flags->sampling);
  command->footer(kHelp);
  command->callback(
      [&invocation, flags] { invocation.action = [flags] { Chat(flags->target, flags->sampling); }; });
}

}  // namespace elrea
