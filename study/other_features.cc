#include "study/other_features.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/rng.h"
#include "encoder/sentence_encoder.h"
#include "features/extract_rows.h"
#include "lora/lora_mix.h"
#include "model/fetch.h"

namespace elrea {
namespace {

using torch::Tensor;

constexpr int64_t kRowsPerPass = 8;
constexpr size_t kTextsPerCall = 256;

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

// [components, dim] f32 of a seeded sample of centred rows [rows, dim]. kInvalidInput for a sample of fewer rows.
Tensor SampleComponents(const StudyJob& job, const Tensor& centred, int64_t components) {
  const int64_t sample_rows = std::min(centred.size(0), job.cluster.sample_rows);
  if (sample_rows < components) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("a sample of {} rows has no {} principal components; raise cluster.sample_rows", sample_rows,
                            components));
  }
  const std::vector<int64_t> sample =
      RandomSample(centred.size(0), sample_rows, static_cast<uint64_t>(job.cluster.seed));
  return PrincipalComponents(centred.index_select(0, torch::tensor(sample)), components);
}

// All that an encoder's vectors depend on.
std::string EncoderChecksum(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::string text;
  for (const fs::path& file : files) {
    const MappedFile mapped(file);
    text += fmt::format("{} {}\n", fs::relative(file, directory).string(), ChecksumHex({reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()}));
  }
  return ChecksumHex(text);
}

std::string TextsChecksum(const std::vector<std::string>& texts) {
  std::string lines;
  for (const std::string& text : texts) lines += ChecksumHex(text) + "\n";
  return ChecksumHex(lines);
}

// [texts, dim] f32.
Tensor Embeddings(const SentenceEncoder& encoder, const std::vector<std::string>& texts) {
  std::vector<Tensor> parts;
  int64_t num_cut = 0;
  Progress progress("instruction embeddings", static_cast<int64_t>(texts.size()), "rows");
  for (size_t begin = 0; begin < texts.size(); begin += kTextsPerCall) {
    const size_t count = std::min(kTextsPerCall, texts.size() - begin);
    int64_t cut = 0;
    parts.push_back(encoder.Embed(std::span(texts).subspan(begin, count), &cut));
    num_cut += cut;
    progress.Set(static_cast<int64_t>(begin + count));
  }
  if (num_cut > 0) {
    LogWarning("study", "{} of {} instructions are longer than the sentence encoder's {} tokens and were cut", num_cut,
               texts.size(), encoder.max_tokens());
  }
  return torch::cat(parts);
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
  const Json identity = {{"pca_of", whole.train->spec().fingerprint}, {"train", whole.train->spec().rows},
                         {"test", whole.test->spec().rows},           {"components", components},
                         {"sample_rows", job.cluster.sample_rows},    {"seed", job.cluster.seed}};
  return bench.OtherFeatures(identity, [&](const fs::path& train, const fs::path& test) {
    const Tensor rows = AsTensor(*whole.train), mean = rows.mean(0, true);
    const Tensor basis = SampleComponents(job, rows - mean, components);
    const std::string fingerprint = ChecksumHex(JsonLine(identity));
    Save(train, (rows - mean).mm(basis.t()), fingerprint, whole.train->spec().rows);
    Save(test, (AsTensor(*whole.test) - mean).mm(basis.t()), fingerprint, whole.test->spec().rows);
  });
}

Tensor PcaRows(const StudyJob& job, const FeatureStore& rows, int64_t components) {
  const Tensor all = AsTensor(rows), centred = all - all.mean(0, true);
  return centred.mm(SampleComponents(job, centred, components).t());
}

const StudyFeatures& HiddenStateFeatures(Workbench& bench) {
  const StudyJob& job = bench.job();
  const StudyAdapter& base = bench.Base();
  const auto train_rows = TrainInstructions(job), test_rows = TestInstructions(job);
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

const StudyFeatures& InstructionEmbeddings(Workbench& bench) {
  const StudyJob& job = bench.job();
  std::vector<std::string> train_texts, test_texts;
  for (int64_t row = 0; row < job.train.texts->num_rows(); ++row)
    train_texts.push_back(job.train.texts->Record(row).prompt.back().content);
  for (const EvalRow& row : job.test) test_texts.push_back(row.instruction);
  const fs::path directory = ResolveModel(job.study.sentence_encoder);
  const SentenceEncoder encoder = SentenceEncoder::Load(directory);
  const Json identity = {{"instruction_embeddings", EncoderChecksum(directory)},
                         {"train", TextsChecksum(train_texts)},
                         {"test", TextsChecksum(test_texts)}};
  return bench.OtherFeatures(identity, [&](const fs::path& train, const fs::path& test) {
    const std::string fingerprint = ChecksumHex(JsonLine(identity));
    Save(train, Embeddings(encoder, train_texts), fingerprint, identity["train"]);
    Save(test, Embeddings(encoder, test_texts), fingerprint, identity["test"]);
  });
}

}  // namespace elrea
