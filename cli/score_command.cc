// elrea score: log-probabilities of given texts, for perplexity and for comparison with other programs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>

#include "cli/commands.h"
#include "cli/responder.h"
#include "cli/text_rows.h"
#include "core/error.h"
#include "core/log.h"
#include "lora/tensor_file.h"

namespace elrea {
namespace {

struct ScoreFlags {
  TargetFlags target;
  std::string text, input, logits;
  bool json = false, bos = false;
};

struct Total {
  double nats = 0;
  int64_t scored = 0, texts = 0;
};

std::vector<int32_t> TokensOf(const Responder& responder, const ScoreFlags& flags, const std::string& text,
                              int64_t number) {
  const Tokenizer& tokenizer = *responder.backbone.tokenizer;
  std::vector<int32_t> tokens = tokenizer.Encode(text, SpecialTokens::kParse);
  if (flags.bos) tokens.insert(tokens.begin(), RequireBos(tokenizer));
  const int64_t context = responder.backbone.decoder->config().context_length;
  if (static_cast<int64_t>(tokens.size()) > context) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("text {} has {} tokens; the model's context is {}; split it", number,
                            tokens.size(), context));
  }
  return tokens;
}

void PrintRow(const std::vector<int32_t>& tokens, const std::vector<float>& log_probs,
              const MethodPlan& plan) {
  Json values = Json::array();
  if (!tokens.empty()) values.push_back(nullptr);  // nothing precedes the first token
  for (float log_prob : log_probs) values.push_back(log_prob);
  Json row = {{"tokens", tokens}, {"logprobs", values}};
  if (!plan.routings.empty()) row["weights"] = RoutingJson(plan.routings[0]);
  std::printf("%s\n", JsonLine(row).c_str());
}

// text<number>.safetensors in the folder: "tokens" [tokens] i64 and "logits" [tokens, vocab] f32, where row t
// are the mixed logits after token t.
void SaveLogits(const fs::path& folder, int64_t number, const Decoder& decoder,
                const std::vector<MixtureMember>& members, const std::vector<int32_t>& tokens) {
  std::vector<torch::Tensor> pieces;
  VisitLogits(decoder, members, tokens, [&](int64_t, const torch::Tensor& logits) { pieces.push_back(logits); });
  SaveTensors(folder / fmt::format("text{}.safetensors", number),
              {{"tokens", torch::tensor(tokens, torch::kLong)}, {"logits", torch::cat(pieces)}});
}

void PrintSummary(const Total& total) {
  const double mean = total.nats / static_cast<double>(std::max<int64_t>(total.scored, 1));
  std::printf("texts %lld\nscored tokens %lld\nnats per token %.6f\nperplexity %.4f\n",
              static_cast<long long>(total.texts), static_cast<long long>(total.scored), mean,
              std::exp(mean));
}

void Score(const ScoreFlags& flags) {
  Responder responder = OpenResponder(flags.target, {});
  if (responder.backbone.tokenizer->add_bos() && !flags.bos) {
    LogWarning("score", "this model expects a BOS token before every text; add --bos");
  }
  const Decoder& decoder = *responder.backbone.decoder;
  Total total;
  ForEachText(flags.text, flags.input, [&](const std::string& text) {
    const std::vector<int32_t> tokens = TokensOf(responder, flags, text, ++total.texts);
    MethodPlan plan;
    std::vector<float> log_probs;
    if (tokens.size() > 1) {
      plan = PlanMethod(*responder.method, *responder.ensemble, {tokens});
      log_probs = ScoreTokens(decoder, plan.members[0], tokens);
      if (!flags.logits.empty())
        SaveLogits(flags.logits, total.texts, decoder, plan.members[0], tokens);
    }
    for (float log_prob : log_probs) total.nats -= log_prob;
    total.scored += static_cast<int64_t>(log_probs.size());
    if (flags.json) PrintRow(tokens, log_probs, plan);
  });
  if (!flags.json) PrintSummary(total);
}

}  // namespace

void AddScoreCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<ScoreFlags>();
  CLI::App* command =
      app.add_subcommand("score", "log-probabilities of texts under a model, an adapter or a run");
  AddTargetFlags(*command, flags->target);
  AddTextFlags(*command, flags->text, flags->input);
  command->add_flag("--json", flags->json,
                    "one line {\"tokens\": [...], \"logprobs\": [null, ...]} per text, natural logarithms");
  command
      ->add_option("--logits", flags->logits,
                   "also write all logits of text N (from 1; of two tokens or more) to DIR/textN.safetensors")
      ->type_name("DIR");
  command->add_flag("--bos", flags->bos, "start every text with the model's BOS token");
  command->callback([&invocation, flags] { invocation.action = [flags] { Score(*flags); }; });
}

}  // namespace elrea
