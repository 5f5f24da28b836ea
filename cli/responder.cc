#include "cli/responder.h"

#include "cli/run.h"
#include "cli/stage_status.h"
#include "cluster/clusters_file.h"
#include "core/error.h"
#include "data/token_contract.h"

namespace elrea {
namespace {

// A run without its lock: nothing is written into it.
Responder OpenRunResponder(const TargetFlags& flags, std::vector<std::string> overrides) {
  const Method& method = FindMethod(flags.method.empty() ? "ensemble" : flags.method);
  for (const std::string& more : flags.model.AsOverrides()) overrides.push_back(more);
  Run run = OpenRunForReading({flags.run, {}, overrides});
  Responder responder{std::move(run.config), std::move(run.backbone), nullptr, &method};
  responder.ensemble = LoadEnsemble(run.paths, responder.config, responder.backbone, method.needs);
  return responder;
}

// One model, alone or with one adapter: the base of an ensemble without experts.
Responder OpenModelResponder(const TargetFlags& flags, std::vector<std::string> overrides) {
  for (const std::string& more : flags.model.AsOverrides()) overrides.push_back(more);
  const PipelineConfig config = LoadConfig({}, overrides);
  Responder responder{config, LoadBackbone(config.model, config.data.train.chat_template), nullptr,
                      &FindMethod(flags.adapter.empty() ? "backbone" : "base")};
  const Decoder& decoder = *responder.backbone.decoder;
  if (!flags.adapter.empty()) {
    CheckTokenContract(flags.adapter,
                       TokenContract::Of(*responder.backbone.tokenizer, *responder.backbone.chat));
  }
  ExpertBank bank = flags.adapter.empty() ? ExpertBank() : ExpertBank(decoder, flags.adapter, {});
  responder.ensemble = std::make_unique<Ensemble>(decoder, std::move(bank));
  return responder;
}

}  // namespace

std::vector<FeatureCheckpoint> LoadFeatureCheckpoints(const fs::path& directory, const FinetuneOptions& adam,
                                                      const ModelConfig& model) {
  std::vector<FeatureCheckpoint> checkpoints;
  for (EpochCheckpoint& c : LoadCheckpoints(directory, model)) {
    checkpoints.push_back({std::move(c.adapter), c.moments.m, c.moments.v, c.moments.steps, adam.beta1,
                           adam.beta2, adam.epsilon});
  }
  return checkpoints;
}

std::vector<FeatureCheckpoint> LoadFeatureCheckpoints(const RunPaths& paths, const PipelineConfig& config,
                                                      const ModelConfig& model) {
  RequireStage(paths, "base");
  return LoadFeatureCheckpoints(paths.base(), config.finetune, model);
}

std::unique_ptr<Ensemble> LoadEnsemble(const RunPaths& paths, const PipelineConfig& config,
                                       const Backbone& backbone, MethodNeeds needs) {
  const Decoder& decoder = *backbone.decoder;
  if (needs == MethodNeeds::kBackbone) return std::make_unique<Ensemble>(decoder, ExpertBank());
  RequireStage(paths, "base");
  if (needs == MethodNeeds::kBase)
    return std::make_unique<Ensemble>(decoder, ExpertBank(decoder, paths.base(), {}));
  for (const char* stage : {"clusters", "experts"}) RequireStage(paths, stage);
  RouterParts router{nullptr, ReadClusters(paths.clusters()), config.routing};
  std::vector<fs::path> experts;
  for (size_t c = 0; c < router.clustering.clusters.size(); ++c)
    experts.push_back(paths.expert(static_cast<int64_t>(c)));
  router.extractor = std::make_unique<FeatureExtractor>(
      decoder, LoadFeatureCheckpoints(paths, config, decoder.config()), config.features);
  router.extractor->ShareBeginning(backbone.chat->Beginning());
  return std::make_unique<Ensemble>(decoder, ExpertBank(decoder, paths.base(), experts), std::move(router));
}

Responder OpenResponder(const TargetFlags& flags, const std::vector<std::string>& overrides) {
  if (!flags.run.empty()) return OpenRunResponder(flags, overrides);
  if (flags.model.model.empty()) {
    throw Error(ErrorKind::kInvalidInput, "nothing to ask: give --model MODEL, or --run DIR");
  }
  return OpenModelResponder(flags, overrides);
}

Responder OpenDecodingResponder(const TargetFlags& flags, const std::vector<std::string>& overrides) {
  Responder responder = OpenResponder(flags, overrides);
  responder.packed = LoadDecodeWeights(responder.config.model, *responder.backbone.decoder);
  return responder;
}

Json RoutingJson(const Routing& routing) {
  return {{"base", routing.base_weight}, {"experts", routing.weights}, {"cosines", routing.cosines}};
}

}  // namespace elrea
