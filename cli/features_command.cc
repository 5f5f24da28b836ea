// elrea features: the gradient feature of every training row, or the raw gradients of some, for comparison
// elsewhere.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/pipeline.h"
#include "cli/responder.h"
#include "core/log.h"
#include "lora/adapter_file.h"
#include "lora/tensor_file.h"

namespace elrea {
namespace {

struct RawFlags {
  std::string path;
  int64_t limit = 64;
};

// One tensor per matrix of the adapter, named as in the adapter's own file with the row's number in front.
void DumpRawGradients(const Run& run, const RunData& data, const RawFlags& flags) {
  const Decoder& decoder = *run.backbone.decoder;
  std::vector<FeatureCheckpoint> checkpoints =
      LoadFeatureCheckpoints(run.paths, run.config, decoder.config());
  const AdapterConfig config = checkpoints.back().adapter.config;
  FeatureExtractor extractor(decoder, std::move(checkpoints), run.config.features);
  std::vector<std::span<const int32_t>> instructions;
  for (const TokenRow& row : data.train.rows) {
    if (static_cast<int64_t>(instructions.size()) == flags.limit) break;
    instructions.push_back(std::span(row.tokens).first(static_cast<size_t>(row.num_prompt)));
  }
  const AdapterLayout layout(decoder.config(), config);
  std::vector<std::pair<std::string, torch::Tensor>> tensors;
  const std::vector<std::vector<float>> gradients = extractor.RawGradients(instructions);
  for (size_t row = 0; row < gradients.size(); ++row) {
    const torch::Tensor flat = torch::tensor(gradients[row]);
    ForEachAdapterMatrix(layout, flat, [&](const std::string& name, const torch::Tensor& view) {
      tensors.emplace_back(fmt::format("row{}.{}", row, name), view);
    });
  }
  SaveTensors(flags.path, tensors);
  LogInfo("features", "raw gradients of {} rows at the last checkpoint are in {}", gradients.size(),
          flags.path);
}

}  // namespace

void AddFeaturesCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<RunFlags>();
  auto raw = std::make_shared<RawFlags>();
  CLI::App* command =
      app.add_subcommand("features", "extract the gradient feature of every training row of a run");
  AddRunFlags(*command, *flags);
  command
      ->add_option("--raw-gradients", raw->path,
                   "instead, write the unprojected gradients of the first rows at the last checkpoint to "
                   "this safetensors file")
      ->type_name("FILE");
  command->add_option("--limit", raw->limit, "rows of --raw-gradients (default 64)")
      ->check(CLI::PositiveNumber);
  command->callback([&invocation, flags, raw] {
    invocation.action = [flags, raw] {
      const Run run = OpenRunForWriting(flags->Request());
      const RunData data = LoadRunData(run);
      raw->path.empty() ? ExtractFeatures(run, data) : DumpRawGradients(run, data, *raw);
    };
  });
}

}  // namespace elrea
