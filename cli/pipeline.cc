// The pipeline; read this file first. Every stage leaves an artifact in the run that the next one reads, so
// that any of them can be run, killed and run again alone. Base and experts are the same fine-tuning with
// other rows and another start (method sections 1 and 4); experts go side by side.
#include "cli/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <deque>

#include "cli/evaluation.h"
#include "cli/responder.h"
#include "cli/stage_status.h"
#include "cluster/clusters_file.h"
#include "core/error.h"
#include "core/log.h"
#include "data/token_contract.h"
#include "features/feature_store.h"
#include "lora/adapter_file.h"
#include "train/finetune.h"

namespace elrea {
namespace {

constexpr int64_t kRowsPerFeatureChunk =
    64;  // saved together; fixes the batches, so that resuming repeats them

std::vector<const TokenRow*> Pointers(const std::vector<TokenRow>& rows) {
  std::vector<const TokenRow*> pointers;
  for (const TokenRow& row : rows) pointers.push_back(&row);
  return pointers;
}

std::span<const int32_t> Instruction(const TokenRow& row) {
  return std::span(row.tokens).first(static_cast<size_t>(row.num_prompt));
}

std::string InstructionsChecksum(const std::vector<TokenRow>& rows) {
  std::string bytes;
  for (const TokenRow& row : rows) {
    const auto instruction = Instruction(row);
    bytes.append(reinterpret_cast<const char*>(instruction.data()), instruction.size_bytes());
    bytes += '\n';
  }
  return ChecksumHex(bytes);
}

// Rows that all stores have. A session may have been killed when some had a chunk that others had not; then they are
// ahead by that chunk, or finished.
int64_t NumDone(const std::deque<FeatureStoreWriter>& stores) {
  const auto fewer = [](const FeatureStoreWriter& a, const FeatureStoreWriter& b) { return a.num_done() < b.num_done(); };
  return std::min_element(stores.begin(), stores.end(), fewer)->num_done();
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
    const auto num_rows = static_cast<int64_t>(data.train.rows.size());
    const std::string rows = InstructionsChecksum(data.train.rows);
    std::deque<FeatureStoreWriter> stores;
    for (size_t i = 0; i < dims.size(); ++i) {
      stores.emplace_back(i == 0 ? run.paths.features() : run.paths.features_of(dims[i]),
                          FeatureStoreSpec{num_rows, dims[i], extractor.fingerprint(i), rows});
    }
    Progress progress("features", num_rows, "rows");
    progress.StartAt(NumDone(stores));
    for (int64_t begin = NumDone(stores); begin < num_rows; begin = NumDone(stores)) {
      const int64_t end = std::min(begin + kRowsPerFeatureChunk, num_rows);
      std::vector<std::span<const int32_t>> instructions;
      for (int64_t i = begin; i < end; ++i) instructions.push_back(Instruction(data.train.rows[i]));
      const std::vector<std::vector<float>> features = extractor.ExtractAll(instructions);
      for (size_t i = 0; i < dims.size(); ++i) {
        if (stores[i].num_done() == begin) stores[i].Append(features[i]);
      }
      progress.Set(end);
    }
    // The main one last: where it is there, the stage is done.
    for (size_t i = stores.size(); i-- > 0;) stores[i].Finish();
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
  std::vector<Finetuning> experts;
  for (size_t c = 0; c < clustering.clusters.size(); ++c) {
    const auto cluster = static_cast<int64_t>(c);
    FinetuneJob job{fmt::format("expert {}", c), &decoder, base, {}, {}, run.paths.expert(cluster)};
    for (int64_t row : clustering.clusters[c].rows) job.rows.push_back(&data.train.rows[row]);
    experts.push_back({std::move(job), ExpertFinetuneOptions(run.config, cluster)});
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
