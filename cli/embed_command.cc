// elrea embed: vectors of texts by a sentence encoder.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/text_rows.h"
#include "core/json.h"
#include "core/log.h"
#include "encoder/sentence_encoder.h"
#include "lora/tensor_file.h"
#include "model/fetch.h"

namespace elrea {
namespace {

struct EmbedFlags {
  std::string model = "minilm", text, input, output;
  bool json = false;
};

void PrintRow(const torch::Tensor& row, bool json) {
  const std::vector<float> values(row.data_ptr<float>(), row.data_ptr<float>() + row.numel());
  if (json) {
    std::printf("%s\n", JsonLine({{"embedding", values}}).c_str());
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    std::printf("%s%.6f", i == 0 ? "" : " ", static_cast<double>(values[i]));
  }
  std::printf("\n");
}

void Embed(const EmbedFlags& flags) {
  const SentenceEncoder encoder = SentenceEncoder::Load(ResolveModel(flags.model));
  std::vector<std::string> texts;
  ForEachText(flags.text, flags.input, [&](const std::string& text) { texts.push_back(text); });
  int64_t num_cut = 0;
  const torch::Tensor embeddings = encoder.Embed(texts, &num_cut);
  if (num_cut > 0) {
    LogWarning("embed", "{} of {} texts are longer than {} tokens; what is beyond was left out", num_cut,
               texts.size(), encoder.max_tokens());
  }
  if (!flags.output.empty()) {
    SaveTensors(flags.output, {{"embeddings", embeddings}});
    return;
  }
  for (int64_t i = 0; i < embeddings.size(0); ++i) PrintRow(embeddings[i], flags.json);
}

}  // namespace

void AddEmbedCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<EmbedFlags>();
  CLI::App* command = app.add_subcommand("embed", "turn texts into vectors with a sentence encoder");
  command->add_option("--model", flags->model, "a sentence encoder's directory or a fetched name")
      ->capture_default_str()
      ->type_name("MODEL");
  AddTextFlags(*command, flags->text, flags->input);
  command->add_flag("--json", flags->json, "one line {\"embedding\": [...]} per text");
  command->add_option("--output", flags->output, "write safetensors instead: \"embeddings\" [texts, dim] f32")
      ->type_name("FILE");
  command->callback([&invocation, flags] { invocation.action = [flags] { Embed(*flags); }; });
}

}  // namespace elrea
