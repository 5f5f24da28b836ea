// elrea eval: exact match on held-out rows, per method, with intervals.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "cli/commands.h"
#include "cli/evaluation.h"
#include "cli/responder.h"
#include "core/error.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

struct EvalFlags {
  TargetFlags target;
  SamplingFlags sampling;
  std::vector<std::string> methods, files;
  std::string output;
  bool json = false;
};

void PrintChunk(const std::string& method, std::span<const Prediction> chunk) {
  for (const Prediction& prediction : chunk) {
    Json json = {{"method", method}};
    json.update(PredictionJson(prediction));
    std::printf("%s\n", JsonLine(json).c_str());
  }
  std::fflush(stdout);
}

// Rows go to stdout as they come with --json, else the table at the end.
void Eval(const EvalFlags& flags) {
  EvaluationRequest request;
  request.target = flags.target;
  request.overrides = flags.sampling.overrides;
  request.methods = flags.methods;
  request.files = flags.files;
  std::optional<TempDir> scratch;
  if (!flags.output.empty()) {
    request.directory = flags.output;
  } else if (flags.target.run.empty() || !flags.files.empty()) {
    request.directory = scratch.emplace().path();  // other rows than the run's own: only the output counts
  }
  if (flags.json) request.on_chunk = PrintChunk;
  const EvalReport report = EvaluateTarget(request);
  std::fputs(ReportText(report).c_str(), flags.json ? stderr : stdout);
}

}  // namespace

void AddEvalCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command =
      app.add_subcommand("eval", "exact match on held-out rows for a run's methods, or for one model");
  AddModelFlags(*command, flags->target.model);
  CLI::Option* model = command->get_option("--model");
  command->add_option("--adapter", flags->target.adapter, "an adapter folder on top of --model")
      ->type_name("DIR")
      ->needs(model);
  CLI::Option* run =
      command->add_option("--run", flags->target.run, "a run's folder")->type_name("DIR")->excludes(model);
  command
      ->add_option("--method", flags->methods,
                   "backbone, base or ensemble; repeatable (default: eval.methods)")
      ->type_name("NAME")
      ->needs(run)
      ->take_all()
      ->expected(1);
  command
      ->add_option("--input", flags->files,
                   "JSONL with \"prompt\" and \"answer\" (default: the run's test rows)")
      ->type_name("FILE");
  command->add_option("--out", flags->output, "folder for answers and report (default: DIR/eval of the run)")
      ->type_name("DIR");
  AddSamplingFlags(*command, flags->sampling);
  command->add_flag("--json", flags->json,
                    "one JSON object per answered row on stdout; the table goes to stderr");
  command->callback([&invocation, flags] { invocation.action = [flags] { Eval(*flags); }; });
}

}  // namespace elrea
