#include "study/workbench.h"

#include <fmt/format.h>

#include <algorithm>

#include "cluster/clustering_of_labels.h"
#include "cluster/clusters_file.h"
#include "core/error.h"
#include "core/streaming_checksum.h"
#include "core/log.h"
#include "features/extract_rows.h"
#include "study/cost.h"
#include "train/group_options.h"

namespace elrea {
namespace {

template <typename Options>
Json OptionsJson(Options options) {
  return OptionSet(options).ToJson();
}

std::string RowsChecksum(const std::vector<const TokenRow*>& rows) {
  StreamingChecksum sum;
  for (const TokenRow* row : rows) {
    sum.Add(std::as_bytes(std::span(row->tokens)));
    sum.Add(fmt::format(" {}\n", row->num_prompt));
  }
  return sum.Hex();
}

std::vector<const TokenRow*> Pointers(const std::vector<TokenRow>& rows) {
  std::vector<const TokenRow*> pointers;
  for (const TokenRow& row : rows) pointers.push_back(&row);
  return pointers;
}

std::vector<int64_t> AllRows(const Dataset& dataset) {
  std::vector<int64_t> rows(dataset.rows.size());
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
  return rows;
}

// What the features cost, which is no part of their identity.
void WriteCost(const fs::path& folder, double seconds) {
  WriteJsonFile(folder / "cost.json", {{"format_version", 1}, {"seconds", seconds}});
}

}  // namespace

std::string TensorChecksum(const torch::Tensor& t) {
  return ChecksumHex({static_cast<const char*>(t.data_ptr()), t.nbytes()});
}

std::string TrainRowsChecksum(const StudyJob& job) { return RowsChecksum(Pointers(job.train.rows)); }

Json TrainingJson(FinetuneOptions options) {
  options.checkpoint_every_s = 0;
  return OptionsJson(options);
}

const char* DtypeName(const StudyJob& job) { return job.decoder->dtype() == torch::kFloat ? "f32" : "bf16"; }

std::vector<std::span<const int32_t>> TrainInstructions(const StudyJob& job) {
  std::vector<std::span<const int32_t>> instructions;
  for (const TokenRow& row : job.train.rows) {
    instructions.push_back(std::span(row.tokens).first(static_cast<size_t>(row.num_prompt)));
  }
  return instructions;
}

std::vector<std::span<const int32_t>> TestInstructions(const StudyJob& job) {
  std::vector<std::span<const int32_t>> instructions;
  for (const EvalRow& row : job.test) instructions.emplace_back(row.prompt);
  return instructions;
}

fs::path ArtifactFolder(const StudyJob& job, const std::string& kind, const Json& identity) {
  const fs::path folder =
      job.directory / "artifacts" / fmt::format("{}-{}", kind, ChecksumHex(JsonLine(identity)));
  if (!fs::exists(folder / "identity.json")) WriteJsonFile(folder / "identity.json", identity);
  return folder;
}

void Workbench::StartCost() {
  used_.clear();
  for (auto& [rank, other] : ranks_) other->bench->StartCost();
}

double Workbench::Cost() const {
  double total = 0;
  for (const std::string& name : used_) total += seconds_.at(name);
  for (const auto& [rank, other] : ranks_) total += other->bench->Cost();
  return total;
}

Workbench& Workbench::AtRank(int64_t rank) {
  std::unique_ptr<OtherRank>& other = ranks_[rank];
  if (!other) {
    other = std::make_unique<OtherRank>(OtherRank{job_, nullptr});
    LoraOptions& lora = other->job.lora;
    lora.alpha *= static_cast<double>(rank) / static_cast<double>(lora.rank);
    lora.rank = rank;
    other->job.base.learning_rate *= job_.study.rank_learning_rate_factor;
    other->job.expert.learning_rate *= job_.study.rank_learning_rate_factor;
    other->bench = std::make_unique<Workbench>(other->job, seed_);
  }
  return *other->bench;
}

const StudyAdapter& Workbench::Keep(const std::string& name, const std::function<StudyAdapter()>& make) {
  used_.insert(name);
  if (const auto found = adapters_.find(name); found != adapters_.end()) return found->second;
  StudyAdapter made = make();
  seconds_[name] = made.train_s;
  return adapters_[name] = std::move(made);
}

Adapter Workbench::FreshAdapter(int64_t seed) const {
  return MakeAdapter(job_.decoder->config(), MakeAdapterConfig(job_.lora), static_cast<uint64_t>(seed));
}

Finetuning Workbench::Plan(const Training& training) const {
  FinetuneJob job{fmt::format("seed {}: {}", seed_, training.label), job_.decoder, training.start, {},
                  Pointers(job_.validation.rows), {}};
  for (int64_t row : training.rows) job.rows.push_back(&job_.train.rows[static_cast<size_t>(row)]);
  job.directory = ArtifactFolder(job_, "adapter",
                                 {{"backbone", job_.decoder->weights().fingerprint},
                                  {"dtype", DtypeName(job_)},
                                  {"start", TensorChecksum(training.start.params)},
                                  {"rank", training.start.config.rank},
                                  {"alpha", training.start.config.alpha},
                                  {"target_modules", job_.lora.target_modules},
                                  {"rows", RowsChecksum(job.rows)},
                                  {"validation", RowsChecksum(job.validation)},
                                  {"options", TrainingJson(training.options)}});
  return {std::move(job), training.options};
}

std::vector<const StudyAdapter*> Workbench::Train(const std::string& label, const std::vector<Training>& all) {
  std::vector<std::string> names;
  std::vector<Finetuning> missing;
  std::set<std::string> planned;
  std::string together;
  for (const Training& training : all) {
    Finetuning finetuning = Plan(training);
    names.push_back(finetuning.job.directory.filename().string());
    used_.insert(names.back());
    if (adapters_.contains(names.back()) || !planned.insert(names.back()).second) continue;
    together += names.back();
    missing.push_back(std::move(finetuning));
  }
  if (!missing.empty()) {
    const fs::path state = job_.directory / "artifacts" / ("training-" + ChecksumHex(together));
    fs::create_directories(state);
    std::vector<FinetuneResult> results = WithContext("training " + label, [&] {
      return FinetuneSideBySide(missing, {fmt::format("seed {}: {}", seed_, label), state, SideBySideToFillPasses(missing)});
    });
    fs::remove_all(state);
    for (size_t i = 0; i < missing.size(); ++i) KeepTrained(missing[i].job.directory, std::move(results[i]));
  }
  std::vector<const StudyAdapter*> trained;
  for (const std::string& name : names) trained.push_back(&adapters_.at(name));
  return trained;
}

void Workbench::KeepTrained(const fs::path& folder, FinetuneResult result) {
  const std::string name = folder.filename().string();
  StudyAdapter& made = adapters_[name];
  made.folder = folder;
  made.checksum = TensorChecksum(result.adapter.params);
  made.train_s = seconds_[name] = result.seconds;
  made.adapter = std::move(result.adapter);
  made.layout = std::make_unique<AdapterLayout>(job_.decoder->config(), made.adapter.config);
  made.weights = std::make_unique<LoraWeights>(*made.layout, made.adapter, job_.decoder->dtype(),
                                               job_.decoder->device());
}

const StudyAdapter& Workbench::Base() { return *Bases({0})[0]; }

std::vector<const StudyAdapter*> Workbench::Bases(const std::vector<int64_t>& numbers) {
  std::vector<Training> bases;
  for (int64_t number : numbers) {
    FinetuneOptions options = job_.base;
    options.seed = seed_ + number;
    bases.push_back({number == 0 ? "base" : fmt::format("base {}", number), FreshAdapter(options.seed), AllRows(job_.train),
                     options});
  }
  return Train(bases.size() == 1 ? bases[0].label : "bases", bases);
}

std::vector<const StudyAdapter*> Workbench::FromScratch(const std::vector<LabelledRows>& groups) {
  std::vector<Training> trainings;
  FinetuneOptions options = job_.base;
  options.seed = seed_;
  for (const LabelledRows& group : groups) trainings.push_back({group.label, FreshAdapter(seed_), group.rows, options});
  return Train("adapters of parts of the rows", trainings);
}

std::vector<const StudyAdapter*> Workbench::Experts(const std::vector<std::vector<int64_t>>& groups) {
  const Adapter& base = Base().adapter;
  FinetuneOptions seeded = job_.expert;
  seeded.seed = seed_;
  const std::vector<FinetuneOptions> options =
      OptionsOfGroups(seeded, job_.experts_take_equal_steps, groups, std::ssize(job_.train.rows));
  std::vector<Training> experts;
  for (size_t c = 0; c < groups.size(); ++c)
    experts.push_back({fmt::format("expert {} of {}", c + 1, groups.size()), base, groups[c], options[c]});
  return Train("experts", experts);
}

std::vector<FeatureCheckpoint> Workbench::BaseCheckpoints() {
  std::vector<FeatureCheckpoint> checkpoints;
  for (EpochCheckpoint& c : LoadCheckpoints(Base().folder, job_.decoder->config())) {
    checkpoints.push_back({std::move(c.adapter), c.moments.m, c.moments.v, c.moments.steps, job_.base.beta1,
                           job_.base.beta2, job_.base.epsilon});
  }
  return checkpoints;
}

// The asked length first, then those that are made with it: none where the features differ in more than length.
std::vector<int64_t> Workbench::LengthsWith(const FeatureOptions& options) const {
  std::vector<int64_t> lengths = {options.projection_dim};
  FeatureOptions configured = job_.features;
  configured.projection_dim = options.projection_dim;
  if (OptionsJson(configured) != OptionsJson(options) || configured.normalise != options.normalise) return lengths;
  std::vector<int64_t> others = lengths_;
  others.push_back(job_.features.projection_dim);
  for (int64_t length : others) {
    if (std::find(lengths.begin(), lengths.end(), length) == lengths.end()) lengths.push_back(length);
  }
  return lengths;
}

const StudyFeatures& Workbench::Features(const FeatureOptions& options) {
  const fs::path train = GradientFeatures(options, "the training rows", TrainInstructions(job_));
  const fs::path test = GradientFeatures(options, "the held-out prompts", TestInstructions(job_));
  return LoadFeatures({train, test}, train / "rows", test / "rows");
}

fs::path Workbench::GradientFeatures(FeatureOptions options, const std::string& of,
                                     const std::vector<std::span<const int32_t>>& instructions) {
  const std::vector<int64_t> lengths = LengthsWith(options);
  const FeatureExtractor all(*job_.decoder, BaseCheckpoints(), options, lengths);
  std::vector<int64_t> missing;
  std::vector<fs::path> folders;
  fs::path asked;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const fs::path folder = ArtifactFolder(
        job_, "features", {{"features", all.fingerprint(i)}, {"rows", InstructionsChecksum(instructions)}});
    if (i == 0) asked = folder;
    if (fs::exists(folder / "cost.json")) continue;
    missing.push_back(lengths[i]);
    folders.push_back(folder);
  }
  if (fs::exists(asked / "cost.json")) return asked;
  std::vector<FeatureTarget> targets;
  for (size_t i = 0; i < missing.size(); ++i) targets.push_back({missing[i], folders[i] / "rows"});
  options.projection_dim = missing[0];
  FeatureExtractor extractor(*job_.decoder, BaseCheckpoints(), options, missing);
  const Stopwatch watch;
  const int64_t extracted = WithContext("features of " + of, [&] { return ExtractToStores(extractor, instructions, targets); });
  for (const fs::path& folder : folders) WriteCost(folder, SecondsOfAll(watch.seconds(), extracted, std::ssize(instructions)));
  return asked;
}

const StudyFeatures& Workbench::OtherFeatures(
    const Json& identity, const std::function<void(const fs::path&, const fs::path&)>& make) {
  const fs::path folder = ArtifactFolder(job_, "features", identity);
  if (!fs::exists(folder / "cost.json")) {
    const Stopwatch watch;
    make(folder / "train", folder / "test");
    WriteCost(folder, watch.seconds());
  }
  return LoadFeatures({folder}, folder / "train", folder / "test");
}

const StudyFeatures& Workbench::LoadFeatures(const std::vector<fs::path>& folders, const fs::path& train,
                                             const fs::path& test) {
  for (const fs::path& folder : folders) {
    const std::string name = folder.filename().string();
    used_.insert(name);
    seconds_[name] = JsonField<double>(ReadVersionedJson(folder / "cost.json"), "seconds", folder.string());
  }
  StudyFeatures& features = features_[train.string() + " " + test.string()];
  if (features.train == nullptr) {
    features.train = std::make_unique<FeatureStore>(train);
    features.test = std::make_unique<FeatureStore>(test);
  }
  return features;
}

const Clustering& Workbench::KeepClusters(
    const StudyFeatures& features, const Json& algorithm, const ClusterOptions& recorded,
    const std::function<Clustering(RowMatrix train, const std::vector<std::string>& sources)>& make) {
  const FeatureStore& train = *features.train;
  const fs::path folder = ArtifactFolder(
      job_, "clusters",
      {{"features", train.spec().fingerprint}, {"rows", train.spec().rows}, {"algorithm", algorithm}});
  const std::string name = folder.filename().string();
  if (const auto found = clusterings_.find(name); found != clusterings_.end()) return found->second;
  if (!fs::exists(folder / kClustersFileName)) {
    std::vector<std::string> sources;
    for (const TokenRow& row : job_.train.rows) sources.push_back(job_.train.sources[row.source_id]);
    WriteClusters(folder, make({train.all().data(), train.num_rows(), train.dim()}, sources), recorded);
  }
  return clusterings_[name] = ReadClusters(folder);
}

const Clustering& Workbench::Clusters(const StudyFeatures& features, const ClusterOptions& options) {
  return KeepClusters(features, OptionsJson(options), options,
                      [&](RowMatrix train, const std::vector<std::string>& sources) {
                        return ClusterFeatures(options, train, sources);
                      });
}

const Clustering& Workbench::OtherClusters(
    const StudyFeatures& features, const Json& algorithm,
    const std::function<std::vector<int64_t>(RowMatrix train)>& label) {
  return KeepClusters(features, algorithm, job_.cluster,
                      [&](RowMatrix train, const std::vector<std::string>& sources) {
                        return ClusteringOf(train, label(train), sources);
                      });
}

std::vector<Routing> Workbench::RouteRows(const StudyFeatures& features, const Clustering& clustering,
                                          const RoutingOptions& options) const {
  std::vector<RoutingCluster> clusters;
  for (const FeatureCluster& c : clustering.clusters)
    clusters.push_back({c.centroid, c.mean_cosine, c.std_cosine});
  std::vector<Routing> routings;
  for (int64_t row = 0; row < features.test->num_rows(); ++row) {
    const std::span<const float> stored = features.test->row(row);
    std::vector<float> feature(stored.begin(), stored.end());
    CenterAndNormalize(feature, clustering.mean);
    routings.push_back(Route(feature, clusters, options));
  }
  return routings;
}

}  // namespace elrea
