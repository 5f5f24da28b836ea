// Every artifact of a run, cut and flipped: what reads it gives a result or an Error that names it.
#include <gtest/gtest.h>

#include "cli/pipeline_config.h"
#include "cli/row_index.h"
#include "cluster/clusters_file.h"
#include "core/damage.h"
#include "data/token_contract.h"
#include "features/feature_store.h"
#include "lora/adapter_file.h"
#include "tests/tiny_run.h"
#include "train/finetune.h"

namespace elrea {
namespace {

TEST(RunDamage, EveryArtifactIsCheckedByWhatReadsIt) {
  const TinyRun tiny;
  const ProgramResult made = tiny.Go({"--set", "eval.methods=[base]", "--set", "eval.loss=false"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const RunPaths paths{tiny.run()};
  const ModelConfig model = LoadModelWeights(TinyModel(), torch::kFloat).config;
  const auto tokenizer = Tokenizer::Load(TinyModel());
  const TokenContract contract = TokenContract::Of(*tokenizer, ChatTemplate::For(*tokenizer, "auto"));
  const Clustering clustering = ReadClusters(paths.clusters());
  const auto base = [&] { LoadAdapter(paths.base(), model); };
  const auto checkpoints = [&] { LoadCheckpoints(paths.base(), model); };
  const auto clusters = [&] { ReadClusters(paths.clusters()); };
  struct Victim {
    std::string file;
    std::function<void()> read;
  };
  const std::vector<Victim> victims = {
      {"run.json", [&] { ReadVersionedJson(paths.manifest()); }},
      {"config.yaml", [&] { LoadConfig(paths.config(), {}); }},
      {"data/ledger.json", [&] { ReadVersionedJson(paths.ledger()); }},
      {"base/adapter_model.safetensors", base},
      {"base/adapter_config.json", base},
      {"base/token_contract.json", [&] { CheckTokenContract(paths.base(), contract); }},
      {"base/checkpoint-1/optimizer.safetensors", checkpoints},
      {"base/checkpoint-1/adapter_config.json", checkpoints},
      {"features/features.safetensors", [&] { FeatureStore store(paths.features()); }},
      {"clusters/clusters.json", clusters},
      {"clusters/centroids.safetensors", clusters},
      {"data/train.jsonl",
       [&] {
         const RowIndex index(paths, clustering);
         for (int64_t row = 0; row < clustering.num_rows; ++row) index.source(row);
       }},
  };
  for (const Victim& victim : victims) {
    const fs::path path = paths.root / victim.file;
    ASSERT_TRUE(fs::exists(path)) << path;
    const DamageOptions options{.cut_every = fs::file_size(path) / 20 + 1, .flips = 40};
    const DamageCounts counts = ReadDamaged(path, paths.root.string(), options, victim.read);
    EXPECT_GT(counts.refused, 0) << path;
    victim.read();
  }
}

}  // namespace
}  // namespace elrea
