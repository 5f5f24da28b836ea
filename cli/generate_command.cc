// elrea generate: answers to one prompt, or to a file of prompts in batches.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/prompts.h"
#include "cli/responder.h"
#include "core/error.h"
#include "core/log.h"

namespace elrea {
namespace {

struct GenerateFlags {
  TargetFlags target;
  PromptFlags prompts;
  SamplingFlags sampling;
  bool json = false;
};

Json AnswerJson(const Prompt& prompt, const Completion& completion, const Routing* routing) {
  Json json = {{"prompt", PromptText(prompt)},
               {"text", completion.text},
               {"finish_reason", FinishReasonName(completion.reason)},
               {"prompt_tokens", prompt.tokens.size()},
               {"tokens", completion.tokens},
               {"logprobs", completion.log_probs}};
  if (routing != nullptr) json["weights"] = RoutingJson(*routing);
  return json;
}

// A single prompt on a terminal: text as it comes.
void StreamAnswer(Responder& responder, const Prompt& prompt) {
  PrefixCache prefixes = responder.MakePrefixCache();  // what routing reads of the prompt
  const MethodPlan plan = PlanMethod(*responder.method, *responder.ensemble, {prompt.tokens}, &prefixes);
  responder.MakeGenerator(&prefixes).Run({{prompt.tokens, plan.members[0], responder.config.generation}},
                                [](size_t, const std::string& piece) {
                                  std::fputs(piece.c_str(), stdout);
                                  return std::fflush(stdout) == 0;
                                });
  std::printf("\n");
}

// Answers prompts [begin, end) and prints them in order.
void AnswerChunk(Responder& responder, std::span<const Prompt> prompts, bool as_json, Progress& progress) {
  std::vector<std::span<const int32_t>> tokens;
  for (const Prompt& prompt : prompts) tokens.emplace_back(prompt.tokens);
  const MethodPlan plan = PlanMethod(*responder.method, *responder.ensemble, tokens);
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < prompts.size(); ++i) {
    requests.push_back({prompts[i].tokens, plan.members[i], responder.config.generation});
  }
  Generator generator = responder.MakeGenerator();
  const auto completions = generator.Run(requests, {}, [&](size_t, const Completion&) { progress.Add(1); });
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Routing* routing = responder.method->routed ? &plan.routings[i] : nullptr;
    if (as_json) {
      std::printf("%s\n", JsonLine(AnswerJson(prompts[i], completions[i], routing)).c_str());
    } else {
      std::printf("%s> %s\n%s\n", i > 0 ? "\n" : "", PromptText(prompts[i]).c_str(),
                  completions[i].text.c_str());
    }
  }
  std::fflush(stdout);
}

void Generate(const GenerateFlags& flags) {
  Responder responder = OpenDecodingResponder(flags.target, flags.sampling.overrides);
  const std::vector<Prompt> prompts = LoadPrompts(flags.prompts, responder.backbone);
  if (prompts.size() == 1 && !flags.json) return StreamAnswer(responder, prompts[0]);
  Progress progress("generate", static_cast<int64_t>(prompts.size()), "prompts");
  const auto chunk = static_cast<size_t>(responder.config.eval.chunk_rows);
  for (size_t begin = 0; begin < prompts.size(); begin += chunk) {
    const size_t count = std::min(chunk, prompts.size() - begin);
    AnswerChunk(responder, std::span(prompts).subspan(begin, count), flags.json, progress);
  }
}

}  // namespace

void AddGenerateCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<GenerateFlags>();
  CLI::App* command = app.add_subcommand("generate", "answer a prompt, or each prompt of a file");
  AddTargetFlags(*command, flags->target);
  AddPromptFlags(*command, flags->prompts);
  AddSamplingFlags(*command, flags->sampling);
  command->add_flag("--json", flags->json,
                    "one JSON object per prompt, with tokens, log-probabilities and weights");
  command->callback([&invocation, flags] { invocation.action = [flags] { Generate(*flags); }; });
}

}  // namespace elrea
