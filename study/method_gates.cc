// The ensemble's experts mixed token by token in each layer: shares that are learnt (MoLE) or that follow
// from the experts themselves (Arrow).
#include <ATen/ATen.h>
#include <fmt/format.h>

#include "study/arrow.h"
#include "study/merge_adapters.h"
#include "study/method.h"
#include "train/train_gates.h"

namespace elrea {
namespace {

std::vector<const StudyAdapter*> EnsembleExperts(Workbench& bench) {
  const StudyFeatures& features = bench.Features(bench.job().features);
  return bench.Experts(RowGroups(bench.Clusters(features, bench.job().cluster)));
}

// The experts in one adapter of the summed rank, each with share 1.
Adapter Join(const StudyJob& job, const std::vector<const StudyAdapter*>& experts) {
  std::vector<const Adapter*> adapters;
  for (const StudyAdapter* expert : experts) adapters.push_back(&expert->adapter);
  return ConcatenateAdapters(job.decoder->config(), adapters, std::vector<double>(experts.size(), 1.0));
}

StudyAdapter WithGate(const StudyJob& job, Adapter joined, int64_t parts, GateScore score,
                      const std::function<torch::Tensor(const AdapterLayout&)>& rows) {
  StudyAdapter made;
  made.adapter = std::move(joined);
  made.layout = std::make_unique<AdapterLayout>(job.decoder->config(), made.adapter.config);
  made.weights =
      std::make_unique<LoraWeights>(*made.layout, made.adapter, job.decoder->dtype(), job.decoder->device());
  made.weights->SetGate(std::make_unique<Gate>(*made.layout, parts, score, rows(*made.layout)));
  return made;
}

Json ChecksumsOf(const std::vector<const StudyAdapter*>& experts) {
  Json checksums = Json::array();
  for (const StudyAdapter* expert : experts) checksums.push_back(expert->checksum);
  return checksums;
}

// Gates begin at zero, where all experts have equal shares, and are trained on all rows under the base's
// options.
StudyPlan Mole(Workbench& bench) {
  const StudyJob& job = bench.job();
  const std::vector<const StudyAdapter*> experts = EnsembleExperts(bench);
  FinetuneOptions options = job.base;
  options.learning_rate = job.study.gate_learning_rate;
  options.seed = bench.seed();
  const std::filesystem::path folder = ArtifactFolder(job, "gates",
                                                      {{"backbone", job.decoder->weights().fingerprint},
                                                       {"dtype", DtypeName(job)},
                                                       {"experts", ChecksumsOf(experts)},
                                                       {"rows", TrainRowsChecksum(job)},
                                                       {"options", TrainingJson(options)}});
  return EveryRow(
      bench, {&bench.Keep(folder.filename().string(), [&] {
        const auto parts = static_cast<int64_t>(experts.size());
        StudyAdapter made =
            WithGate(job, Join(job, experts), parts, GateScore::kLinear, [&](const AdapterLayout& layout) {
              return torch::zeros({Gate::NumParams(layout, parts)}, torch::kFloat);
            });
        GateJob training{
            fmt::format("seed {}: gates", bench.seed()), job.decoder, made.weights.get(), {}, folder};
        for (const TokenRow& row : job.train.rows) training.rows.push_back(&row);
        made.train_s = TrainGates(training, options).seconds;
        made.folder = folder;
        made.checksum = folder.filename().string() + " " + TensorChecksum(made.weights->gate()->params());
        return made;
      })});
}

StudyPlan Arrow(Workbench& bench) {
  const StudyJob& job = bench.job();
  const std::vector<const StudyAdapter*> experts = EnsembleExperts(bench);
  const std::string name = "arrow-" + ChecksumHex(JsonLine(ChecksumsOf(experts)));
  return EveryRow(bench, {&bench.Keep(name, [&] {
                    Adapter joined = Join(job, experts);
                    const auto parts = static_cast<int64_t>(experts.size());
                    const torch::Tensor params = joined.params;
                    StudyAdapter made = WithGate(
                        job, std::move(joined), parts, GateScore::kAbsolute,
                        [&](const AdapterLayout& layout) { return ArrowRows(layout, params, parts); });
                    made.checksum = name;
                    return made;
                  })});
}

}  // namespace

std::vector<StudyMethod> GateMethods() {
  return {{"mole", "the ensemble's experts, shares per token and layer by gates trained on all rows", "paper",
           Mole},
          {"arrow", "the ensemble's experts, shares per token and layer by the main direction of each",
           "beyond", Arrow}};
}

}  // namespace elrea
