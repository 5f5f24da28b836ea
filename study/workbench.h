// What the methods of a study share, made once: adapters, features and clusterings of one seed. Everything
// lies in a folder named after the checksum of all it depends on (`DIR/artifacts/adapter-<checksum>/`), so
// equal work is never repeated - not by another method, another seed, a later session, or after a change of
// the configuration - and a change makes again only what depends on it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "cluster/cluster_features.h"
#include "data/dataset.h"
#include "ensemble/router.h"
#include "eval/evaluate.h"
#include "features/feature_store.h"
#include "features/features.h"
#include "lora/lora_weights.h"
#include "study/study_options.h"
#include "train/finetune.h"

namespace elrea {

// All a study works on. The pointers must outlive it.
struct StudyJob {
  const Decoder* decoder;
  const Tokenizer* tokenizer;
  const ChatTemplate* chat;
  const PackedWeights* packed = nullptr;  // as for Generator
  Dataset train = {}, validation = {};
  Json ledger = {};              // of the training rows, as DataLedger::ToJson
  std::string ledger_table = {};  // the same for reading
  std::vector<EvalRow> test = {};
  LoraOptions lora = {};
  FinetuneOptions base = {}, expert = {};
  bool experts_take_equal_steps = true;  // as OptionsOfGroups
  FeatureOptions features = {};
  ClusterOptions cluster = {};
  RoutingOptions routing = {};
  SamplingOptions generation = {};
  EvalOptions eval = {};
  StudyOptions study = {};
  std::filesystem::path directory = {};
  Json config = {};  // for the record
};

// A trained adapter, ready for the passes.
struct StudyAdapter {
  std::string checksum;  // of its parameters
  std::filesystem::path folder;
  double train_s = 0;
  Adapter adapter;
  std::unique_ptr<AdapterLayout> layout;
  std::unique_ptr<LoraWeights> weights;
};

// Unit features [rows, feat] of the training rows and of the held-out prompts.
struct StudyFeatures {
  std::unique_ptr<FeatureStore> train, test;
};

// Tokens of the training rows' instructions and of the held-out prompts: what features are of.
std::vector<std::span<const int32_t>> TrainInstructions(const StudyJob& job);
std::vector<std::span<const int32_t>> TestInstructions(const StudyJob& job);

// A folder for the artifact that `identity` describes, made when missing, with identity.json for the reader.
std::filesystem::path ArtifactFolder(const StudyJob& job, const std::string& kind, const Json& identity);

// What goes into identities.
std::string TensorChecksum(const torch::Tensor& t);
std::string TrainRowsChecksum(const StudyJob& job);
Json TrainingJson(FinetuneOptions options);  // only what changes the result
const char* DtypeName(const StudyJob& job);

// Single-thread use.
class Workbench {
 public:
  // `lengths`: of gradient features that will be asked for beside the configured one; they are made in one
  // pass.
  Workbench(const StudyJob& job, int64_t seed, std::vector<int64_t> lengths = {})
      : job_(job), seed_(seed), lengths_(std::move(lengths)) {}

  const StudyJob& job() const { return job_; }
  int64_t seed() const { return seed_; }

  const StudyAdapter& Base();
  // Those that are asked for together and are not there yet are trained side by side, as far as that fills passes.
  // From the start, under the base's options, on all rows with seed seed() + number, for each number: 0 is Base(), others
  // are other seeds' bases, where the study has those seeds.
  std::vector<const StudyAdapter*> Bases(const std::vector<int64_t>& numbers);
  // From the start, under the base's options, on some rows.
  struct LabelledRows {
    std::string label;
    std::vector<int64_t> rows;
  };
  std::vector<const StudyAdapter*> FromScratch(const std::vector<LabelledRows>& groups);
  // From the base adapter under the experts' options, one per group of rows.
  std::vector<const StudyAdapter*> Experts(const std::vector<std::vector<int64_t>>& groups);

  // Any other, by the name of its artifact: made unless it was before.
  const StudyAdapter& Keep(const std::string& name, const std::function<StudyAdapter()>& make);

  // The same study with adapters of another rank, alpha in proportion and learning rates by rank_learning_rate_factor.
  Workbench& AtRank(int64_t rank);

  // The method's own: gradients of the instructions. Seconds of features that were made in one pass with
  // others are those of the pass.
  const StudyFeatures& Features(const FeatureOptions& options);
  // Any others: `make` writes the stores of the training rows and of the held-out prompts (both [rows, feat])
  // into these folders, unless features of this identity are there.
  const StudyFeatures& OtherFeatures(
      const Json& identity,
      const std::function<void(const std::filesystem::path& train, const std::filesystem::path& test)>& make);
  const Clustering& Clusters(const StudyFeatures& features, const ClusterOptions& options);
  // A clustering by another algorithm: `label` gives each training row a label >= 0.
  const Clustering& OtherClusters(const StudyFeatures& features, const Json& algorithm,
                                  const std::function<std::vector<int64_t>(RowMatrix train)>& label);
  // Of every held-out row.
  std::vector<Routing> RouteRows(const StudyFeatures& features, const Clustering& clustering,
                                 const RoutingOptions& options) const;

  // Seconds of training and feature extraction behind everything asked for since the last call of StartCost.
  void StartCost();
  double Cost() const;

 private:
  const Clustering& KeepClusters(
      const StudyFeatures& features, const Json& algorithm, const ClusterOptions& recorded,
      const std::function<Clustering(RowMatrix train, const std::vector<std::string>& sources)>& make);
  struct Training {
    std::string label;
    Adapter start;
    std::vector<int64_t> rows;
    FinetuneOptions options;
  };
  Finetuning Plan(const Training& training) const;  // in the folder of the artifact
  // In the order of `all`; `label` is that of all.
  std::vector<const StudyAdapter*> Train(const std::string& label, const std::vector<Training>& all);
  void KeepTrained(const std::filesystem::path& folder, FinetuneResult result);
  Adapter FreshAdapter(int64_t seed) const;
  std::vector<FeatureCheckpoint> BaseCheckpoints();
  std::vector<int64_t> LengthsWith(const FeatureOptions& options) const;
  // The artifact of these rows; what is missing of all lengths is made in one pass. `of` names the rows in errors.
  std::filesystem::path GradientFeatures(FeatureOptions options, const std::string& of,
                                         const std::vector<std::span<const int32_t>>& instructions);
  // The stores `train` and `test`, which lie in the artifacts `folders`.
  const StudyFeatures& LoadFeatures(const std::vector<std::filesystem::path>& folders,
                                    const std::filesystem::path& train, const std::filesystem::path& test);

  struct OtherRank {
    StudyJob job;
    std::unique_ptr<Workbench> bench;
  };

  const StudyJob& job_;
  int64_t seed_;
  std::vector<int64_t> lengths_;
  std::map<std::string, StudyAdapter> adapters_;  // by folder name
  std::map<std::string, StudyFeatures> features_;
  std::map<std::string, Clustering> clusterings_;
  std::map<int64_t, std::unique_ptr<OtherRank>> ranks_;
  std::map<std::string, double> seconds_;  // by folder name
  std::set<std::string> used_;             // folders asked for
};

}  // namespace elrea
