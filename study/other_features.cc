#include "study/other_features.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/log.h"
#include "core/rng.h"
#include "features/extract_rows.h"
#include "lora/lora_mix.h"

namespace elrea {
namespace {

using torch::Tensor;

constexpr int64_t kRowsPerPass = 8;

Tensor AsTensor(const FeatureStore& store) {
  return torch::from_blob(const_cast<float*>(store.all().data()), {store.num_rows(), store.dim()},
                          torch::kFloat);
}

// Unit rows into a store.
void Save(const fs::path& folder, const Tensor& rows, const std::string& fingerprint,
          const std::string& rows_checksum) {
  const Tensor unit = (rows / rows.norm(2, 1, true).clamp_min(1e-12)).contiguous();
  FeatureStoreWriter writer(folder, {unit.size(0), unit.size(1), fingerprint, rows_checksum});
  if (writer.finished()) return;
  if (writer.num_done() == 0) writer.Append({unit.data_ptr<float>(), static_cast<size_t>(unit.numel())});
  writer.Finish();
}

// [rows, dim] f32: the residual under the base adapter, averaged over a row's tokens.
Tensor MeanStates(const StudyJob& job, const LoraWeights* adapter,
                  const std::vector<std::span<const int32_t>>& instructions) {
  std::vector<Tensor> means;
  Progress progress("hidden states", static_cast<int64_t>(instructions.size()), "rows");
  for (size_t begin = 0; begin < instructions.size(); begin += kRowsPerPass) {
    const size_t end = std::min(instructions.size(), begin + kRowsPerPass);
    const PackedBatch batch = PackRows({instructions.begin() + static_cast<int64_t>(begin),
                                        instructions.begin() + static_cast<int64_t>(end)});
    LoraMix mix(std::vector<const LoraWeights*>(end - begin, adapter));
    const Tensor residual = job.decoder->Forward(batch, &mix).cpu();
    for (int64_t s = 0; s < batch.num_segments(); ++s) {
      means.push_back(residual.narrow(0, batch.begin(s), batch.length(s)).mean(0));
    }
    progress.Set(static_cast<int64_t>(end));
  }
  return torch::stack(means);
}

}  // namespace

Tensor PrincipalComponents(const Tensor& centred, int64_t components) {
  // With fewer rows than dimensions the Gram matrix is the small side: X X^T u = l u gives v = X^T u / |X^T
  // u|.
  const auto [values, vectors] =
      at::linalg_eigh(centred.to(torch::kDouble).mm(centred.to(torch::kDouble).t()));
  const Tensor top = vectors.narrow(1, vectors.size(1) - components, components).flip(1);
  const Tensor basis = top.t().mm(centred.to(torch::kDouble));
  return (basis / basis.norm(2, 1, true).clamp_min(1e-12)).to(torch::kFloat);
}

const StudyFeatures& PcaFeatures(Workbench& bench, const FeatureOptions& options, int64_t components) {
  const StudyFeatures& whole = bench.Features(options);
  const StudyJob& job = bench.job();
  const int64_t sample_rows = std::min(whole.train->num_rows(), job.cluster.sample_rows);
  if (sample_rows < components) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("a sample of {} rows has no {} principal components; raise cluster.sample_rows", sample_rows,
                            components));
  }
  const Json identity = {{"pca_of", whole.train->spec().fingerprint}, {"train", whole.train->spec().rows},
                         {"test", whole.test->spec().rows},           {"components", components},
                         {"sample_rows", job.cluster.sample_rows},    {"seed", job.cluster.seed}};
  return bench.OtherFeatures(identity, [&](const fs::path& train, const fs::path& test) {
    const Tensor rows = AsTensor(*whole.train), mean = rows.mean(0, true);
    const std::vector<int64_t> sample =
        RandomSample(rows.size(0), std::min(rows.size(0), job.cluster.sample_rows),
                     static_cast<uint64_t>(job.cluster.seed));
    const Tensor basis = PrincipalComponents(rows.index_select(0, torch::tensor(sample)) - mean, components);
    const std::string fingerprint = ChecksumHex(JsonLine(identity));
    Save(train, (rows - mean).mm(basis.t()), fingerprint, whole.train->spec().rows);
    Save(test, (AsTensor(*whole.test) - mean).mm(basis.t()), fingerprint, whole.test->spec().rows);
  });
}

const StudyFeatures& HiddenStateFeatures(Workbench& bench) {
  const StudyJob& job = bench.job();
  const StudyAdapter& base = bench.Base();
  std::vector<std::span<const int32_t>> train_rows, test_rows;
  for (const TokenRow& row : job.train.rows) {
    train_rows.push_back(std::span(row.tokens).first(static_cast<size_t>(row.num_prompt)));
  }
  for (const EvalRow& row : job.test) test_rows.emplace_back(row.prompt);
  const Json identity = {{"hidden_states_of", base.checksum},
                         {"backbone", job.decoder->weights().fingerprint},
                         {"train", InstructionsChecksum(train_rows)},
                         {"test", InstructionsChecksum(test_rows)}};
  return bench.OtherFeatures(identity, [&](const fs::path& train, const fs::path& test) {
    const Tensor rows = MeanStates(job, base.weights.get(), train_rows), mean = rows.mean(0, true);
    const std::string fingerprint = ChecksumHex(JsonLine(identity));
    Save(train, rows - mean, fingerprint, identity["train"]);
    Save(test, MeanStates(job, base.weights.get(), test_rows) - mean, fingerprint, identity["test"]);
  });
}

}  // namespace elrea
