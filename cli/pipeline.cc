// The pipeline; read this file first. Every stage leaves an artifact in the run that the next one reads, so
// that any of them can be run, killed and run again alone. Base and experts are the same fine-tuning with
// other rows and another start (method sections 1 and 4); experts go side by side.
#include "cli/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "cli/evaluation.h"
#include "cli/responder.h"
#include "cli/stage_status.h"
#include "cluster/clusters_file.h"
#include "core/error.h"
#include "core/log.h"
#include "data/token_contract.h"
#include "features/extract_rows.h"
#include "lora/adapter_file.h"
#include "train/finetune.h"
#include "train/group_options.h"

namespace elrea {
namespace {

std::vector<const TokenRow*> Pointers(const std::vector<TokenRow>& rows) {
  std::vector<const TokenRow*> pointers;
  for (const TokenRow& row : rows) pointers.push_back(&row);
  return pointers;
}

std::vector<std::span<const int32_t>> Instructions(const std::vector<TokenRow>& rows) {
  std::vector<std::span<const int32_t>> instructions;
  for (const TokenRow& row : rows)
    instructions.push_back(std::span(row.tokens).first(static_cast<size_t>(row.num_prompt)));
  return instructions;
}

// A run whose rows were kept but whose clusters are of other rows has been tampered with.
void CheckClusterRows(const Clustering& clustering, const RunData& data, const RunPaths& paths) {
  if (clustering.num_rows == static_cast<int64_t>(data.train.rows.size())) return;
  throw Error(
      ErrorKind::kCorrupt,
      fmt::format("{} is of {} rows, but the run has {}; delete that folder and run `elrea cluster` again",
                  paths.clusters().string(), clustering.num_rows, data.train.rows.size()));
}

// Adapters leave the run for other programs and other runs; this goes with them.
TokenContract ContractOf(const Run& run) {
  return TokenContract::Of(*run.backbone.tokenizer, *run.backbone.chat);
}

}  // namespace

void TrainBase(const Run& run, const RunData& data) {
  WithContext("training the base adapter", [&] {
    const Decoder& decoder = *run.backbone.decoder;
    const AdapterConfig config = MakeAdapterConfig(run.config.lora);
    FinetuneJob job{"base",
                    &decoder,
                    MakeAdapter(decoder.config(), config, static_cast<uint64_t>(run.config.finetune.seed)),
                    Pointers(data.train.rows),
                    Pointers(data.validation.rows),
                    run.paths.base()};
    Finetune(job, run.config.finetune);
    WriteTokenContract(run.paths.base(), ContractOf(run));
  });
}

void ExtractFeatures(const Run& run, const RunData& data) {
  WithContext("extracting features", [&] {
    const Decoder& decoder = *run.backbone.decoder;
    const std::vector<int64_t> dims = AllProjectionDims(run.config.features);
    FeatureExtractor extractor(decoder, LoadFeatureCheckpoints(run.paths, run.config, decoder.config()),
                               run.config.features, dims);
    std::vector<FeatureTarget> targets;
    for (size_t i = 0; i < dims.size(); ++i) {
      // Where the main one, which is finished last, is there, the stage is done.
      targets.push_back({dims[i], i == 0 ? run.paths.features() : run.paths.features_of(dims[i])});
    }
    ExtractToStores(extractor, Instructions(data.train.rows), targets);
  });
}

void ClusterRows(const Run& run, const RunData& data) {
  WithContext("clustering", [&] {
    if (fs::exists(run.paths.clusters() / kClustersFileName)) {
      return CheckClusterRows(ReadClusters(run.paths.clusters()), data, run.paths);
    }
    if (!fs::exists(run.paths.features() / kFeaturesFileName)) RequireStage(run.paths, "features");
    const FeatureStore store(run.paths.features());
    std::vector<std::string> sources;
    for (const TokenRow& row : data.train.rows) sources.push_back(data.train.sources[row.source_id]);
    const Clustering clustering =
        ClusterFeatures(run.config.cluster, {store.all().data(), store.num_rows(), store.dim()}, sources);
    WriteClusters(run.paths.clusters(), clustering, run.config.cluster);
    for (size_t c = 0; c < clustering.clusters.size(); ++c) {
      const FeatureCluster& cluster = clustering.clusters[c];
      LogInfo("cluster", "{} rows={} mean_cosine={:.4f} sources={}", c, cluster.rows.size(),
              cluster.mean_cosine, Json(cluster.sources).dump());
    }
  });
}

void TrainExperts(const Run& run, const RunData& data) {
  for (const char* stage : {"base", "clusters"}) RequireStage(run.paths, stage);
  const Decoder& decoder = *run.backbone.decoder;
  const Clustering clustering = ReadClusters(run.paths.clusters());
  CheckClusterRows(clustering, data, run.paths);
  const Adapter base = LoadAdapter(run.paths.base(), decoder.config());
  const std::vector<FinetuneOptions> options =
      OptionsOfGroups(ExpertFinetuneOptions(run.config), run.config.experts.equal_steps, RowGroups(clustering),
                      std::ssize(data.train.rows));
  std::vector<Finetuning> experts;
  for (size_t c = 0; c < clustering.clusters.size(); ++c) {
    const auto cluster = static_cast<int64_t>(c);
    FinetuneJob job{fmt::format("expert {}", c), &decoder, base, {}, {}, run.paths.expert(cluster)};
    for (int64_t row : clustering.clusters[c].rows) job.rows.push_back(&data.train.rows[row]);
    experts.push_back({std::move(job), options[c]});
  }
  WithContext("training the experts", [&] {
    const int64_t asked = run.config.experts.side_by_side;
    const int64_t count = asked > 0 ? asked : SideBySideToFillPasses(experts);
    LogInfo("experts", "{} experts, {} at a time", experts.size(), std::min<int64_t>(count, experts.size()));
    FinetuneSideBySide(experts, {"experts", run.paths.experts(), count});
    for (const Finetuning& expert : experts) WriteTokenContract(expert.job.directory, ContractOf(run));
  });
}

void RunPipeline(const Run& run) {
  const RunData data = PrepareData(run);
  TrainBase(run, data);
  ExtractFeatures(run, data);
  ClusterRows(run, data);
  TrainExperts(run, data);
  if (run.config.data.test_files.empty()) {
    LogInfo("run", "done; no data.test_files, so nothing was evaluated. Talk to it: elrea chat --run {}",
            run.paths.root.string());
    return;
  }
  const EvalReport report = EvaluateRun(run);
  std::fputs(ReportText(report).c_str(), stdout);
  LogInfo("run", "report: {}", (run.paths.eval() / "report.txt").string());
}

}  // namespace elrea
