// All that runs a model, on another device against the CPU: the same numbers, with nothing where it should
// not be. The device is the guarded one, which every machine has, and a GPU where there is one.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "cli/backbone.h"
#include "core/temp_dir.h"
#include "ensemble/generate.h"
#include "eval/choice_likelihood.h"
#include "features/features.h"
#include "lora/gate.h"
#include "lora/lora_trainer.h"
#include "lora/probe.h"
#include "lora/testing.h"
#include "model/device_memory.h"
#include "model/testing.h"
#include "study/merge_adapters.h"
#include "tests/guarded_device.h"
#include "train/batches.h"
#include "train/finetune.h"
#include "train/train_gates.h"

namespace elrea {
namespace {

using torch::Tensor;

double RelativeError(const Tensor& a, const Tensor& b) {
  return ((a.cpu() - b.cpu()).norm() / b.cpu().norm()).item<double>();
}

double Cosine(const Tensor& a, const Tensor& b) {
  return ((a * b).sum() / (a.norm() * b.norm())).item<double>();
}

// Token t is the letter 'a' + t % 26.
class LetterTokenizer : public Tokenizer {
 public:
  LetterTokenizer() { vocab_size_ = 96; }
  std::vector<int32_t> Encode(std::string_view, SpecialTokens) const override { return {}; }
  std::string TokenBytes(int32_t token, bool) const override {
    return std::string(1, static_cast<char>('a' + token % 26));
  }
};

const AdapterConfig kAdapter{.rank = 4, .alpha = 8};

ModelWeights WeightsOn(const ModelConfig& config, torch::Dtype dtype, torch::Device device) {
  ModelWeights weights = MakeTinyModel(config, 7, dtype);
  MoveWeights(weights, device);
  return weights;
}

// A decoder and three adapters on one device.
struct Side {
  Side(const ModelConfig& config, torch::Dtype dtype, torch::Device device)
      : decoder(WeightsOn(config, dtype, device)), layout(config, kAdapter) {
    for (uint64_t seed : {21, 22, 23}) {
      adapters.push_back(MakeRandomAdapter(config, kAdapter, seed));
      loras.push_back(std::make_unique<LoraWeights>(layout, adapters.back(), dtype, device));
    }
  }
  std::vector<MixtureMember> Mixture() const {
    return {{loras[0].get(), 0.3}, {loras[1].get(), 0.9}, {nullptr, 0.2}, {loras[2].get(), 0.1}};
  }

  Decoder decoder;
  AdapterLayout layout;
  std::vector<Adapter> adapters;
  std::vector<std::unique_ptr<LoraWeights>> loras;
};

struct Case {
  const char* name;
  ModelConfig (*config)();
  torch::Dtype dtype;
  double tolerance;  // relative, of logits and gradients
};

class DevicePlacementTest : public testing::TestWithParam<std::tuple<Case, torch::Device>> {
 protected:
  DevicePlacementTest()
      : there_(Model().config(), Model().dtype, Device()),
        here_(Model().config(), Model().dtype, torch::kCPU) {
    at::set_num_threads(1);  // more only slow such small work down on a busy machine
    for (int64_t i = 0; i < 22; ++i) {
      TokenRow row;
      row.tokens = RandomTokens(6 + i % 9, 96, static_cast<uint64_t>(i));
      row.num_prompt = 3;
      rows_.push_back(row);
    }
  }
  static const Case& Model() { return std::get<0>(GetParam()); }
  static torch::Device Device() { return std::get<1>(GetParam()); }
  static double Tolerance() { return Model().tolerance; }
  static bool IsF32() { return Model().dtype == torch::kFloat; }

  RowList Rows(size_t first, size_t count) const {
    RowList rows;
    for (size_t i = first; i < first + count; ++i) rows.push_back(&rows_[i]);
    return rows;
  }
  std::vector<std::span<const int32_t>> Instructions() const {
    std::vector<std::span<const int32_t>> all;
    for (const TokenRow& row : rows_) all.emplace_back(row.tokens);
    return all;
  }

  Side there_, here_;
  std::vector<TokenRow> rows_;
  TempDir folder_;
};

TEST_P(DevicePlacementTest, LogitsOfEachAdapterInOnePass) {
  const auto logits = [&](const Side& side) {
    LoraMix mix({side.loras[0].get(), nullptr, side.loras[1].get(), side.loras[1].get()});
    const Tensor residual = side.decoder.Forward(ResponseBatch(Rows(5, 4), 1).packed, &mix);
    return side.decoder.Logits(residual);
  };
  const Tensor found = logits(there_);
  EXPECT_EQ(found.device(), Device());
  EXPECT_LT(RelativeError(found, logits(here_)), Tolerance());
  if (!IsF32()) return;
  EXPECT_LT(RelativeError(ProbeLogits(there_.decoder, there_.adapters, {1, 0.5, 2}),
                          ProbeLogits(here_.decoder, here_.adapters, {1, 0.5, 2})),
            Tolerance());
}

TEST_P(DevicePlacementTest, PromptsGoOnFromCaches) {
  const auto logits = [&](const Side& side) {
    const std::vector<std::span<const int32_t>> rows = {rows_[8].tokens, rows_[7].tokens};
    std::vector<KvCache> caches;
    for (int i = 0; i < 2; ++i)
      caches.emplace_back(side.decoder.config(), side.decoder.dtype(), side.decoder.device(), 4);
    LoraMix mix({side.loras[0].get(), side.loras[2].get()});
    Tensor last;
    for (const auto& [first, count] :
         std::vector<std::pair<size_t, size_t>>{{0, 5}, {5, 1}, {6, 3}, {9, 4}}) {
      PackedBatch batch = PackRows({rows[0].subspan(first, count), rows[1].subspan(first, count)});
      batch.caches = {&caches[0], &caches[1]};
      last = side.decoder.Forward(batch, &mix);
    }
    return side.decoder.Logits(last);
  };
  EXPECT_LT(RelativeError(logits(there_), logits(here_)), Tolerance());
}

TEST_P(DevicePlacementTest, LossAndGradientsWithAndWithoutDropout) {
  const LossBatch batch = ResponseBatch(Rows(3, 6), 0.1f);
  for (double dropout : {0.0, 0.3}) {
    const auto train = [&](const Side& side) {
      LoraTrainer trainer(*side.loras[0]);
      trainer.SetDropout(dropout, 5);
      ForwardTape tape;
      Tensor grad_residual;
      const Tensor residual = side.decoder.Forward(batch.packed, &trainer, &tape);
      const Tensor nll = side.decoder.LossAndGradient(residual, batch.targets, grad_residual);
      EXPECT_LT(RelativeError(side.decoder.Loss(residual, batch.targets), nll), 1e-6);
      side.decoder.Backward(batch.packed, tape, grad_residual, trainer);
      EXPECT_EQ(trainer.grad().device(), side.decoder.device());
      return std::pair(nll, trainer.grad());
    };
    const auto [nll, grad] = train(there_);
    const auto [expected_nll, expected_grad] = train(here_);
    EXPECT_LT(RelativeError(nll, expected_nll), Tolerance());
    EXPECT_LT(RelativeError(grad, expected_grad), 4 * Tolerance()) << "dropout " << dropout;
  }
}

FinetuneOptions ShortTraining() {
  FinetuneOptions options;
  options.batch_size = 4;
  options.learning_rate = 3e-3;
  options.max_grad_norm = 0.5;
  options.max_tokens_per_pass = 30;
  options.checkpoint_every_s = 0;
  options.validate_rows = 4;
  return options;
}

std::vector<std::string> FilesBelow(const fs::path& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    files.push_back(entry.path().lexically_relative(folder).string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST_P(DevicePlacementTest, FineTuningEndsWithTheSameAdapter) {
  if (!IsF32()) return;  // Adam makes much of small differences
  const auto train = [&](const Side& side, const fs::path& folder) {
    const FinetuneJob job{"test",      &side.decoder, MakeAdapter(side.decoder.config(), kAdapter, 5),
                          Rows(0, 22), Rows(0, 4),    folder};
    return Finetune(job, ShortTraining());
  };
  const FinetuneResult found = train(there_, folder_ / "there"), expected = train(here_, folder_ / "here");
  EXPECT_EQ(found.steps, 12);
  EXPECT_LT(RelativeError(found.adapter.params, expected.adapter.params), 1e-5);
  EXPECT_NEAR(found.final_loss, expected.final_loss, 1e-5 * expected.final_loss);
  EXPECT_NEAR(found.validation_loss, expected.validation_loss, 1e-5 * expected.validation_loss);
  EXPECT_EQ(FilesBelow(folder_ / "there"), FilesBelow(folder_ / "here"));
  const auto moments = [&](const char* name) {
    return LoadCheckpoints(folder_ / name, here_.decoder.config()).back().moments;
  };
  EXPECT_LT(RelativeError(moments("there").m, moments("here").m), 1e-4);
  EXPECT_LT(RelativeError(moments("there").v, moments("here").v), 1e-4);
}

TEST_P(DevicePlacementTest, FineTuningSideBySideAndGoingOn) {
  if (!IsF32()) return;
  const auto train = [&](const Side& side, const fs::path& folder) {
    std::vector<Finetuning> all;
    for (size_t i = 0; i < 3; ++i) {
      Finetuning f{
          {"expert", &side.decoder, side.adapters[i], Rows(6 * i, 5 + i), {}, folder / std::to_string(i)},
          ShortTraining()};
      f.options.seed = static_cast<int64_t>(i);
      all.push_back(f);
    }
    all[1].job.keep_going = [](int64_t steps) { return steps < 2; };
    const SideBySide how{"experts", folder, 2};
    EXPECT_ANY_THROW(FinetuneSideBySide(all, how));  // its state is saved and read again
    all[1].job.keep_going = {};
    return FinetuneSideBySide(all, how);
  };
  const auto found = train(there_, folder_ / "there"), expected = train(here_, folder_ / "here");
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_LT(RelativeError(found[i].adapter.params, expected[i].adapter.params), 1e-5) << i;
  }
}

FeatureCheckpoint Checkpoint(const ModelConfig& config, uint64_t seed, int64_t steps) {
  FeatureCheckpoint c;
  c.adapter = MakeRandomAdapter(config, kAdapter, seed);
  c.m = MakeRandomAdapter(config, kAdapter, seed + 1).params * 1e-3;
  c.v = MakeRandomAdapter(config, kAdapter, seed + 2).params.square() * 1e-4;
  c.steps = steps;
  return c;
}

TEST_P(DevicePlacementTest, FeaturesAndGradientsOfEachRow) {
  at::set_num_threads(2);  // rows' gradients are taken from several threads
  const auto extract = [&](const Side& side, std::vector<KvCache>& caches) {
    const ModelConfig& config = side.decoder.config();
    FeatureExtractor extractor(side.decoder, {Checkpoint(config, 1, 3), Checkpoint(config, 20, 6)},
                               {.projection_dim = 64});
    std::vector<KvCache*> filled;
    caches.reserve(rows_.size());
    for (const TokenRow& row : rows_) {
      filled.push_back(
          &caches.emplace_back(config, side.decoder.dtype(), side.decoder.device(), std::ssize(row.tokens)));
    }
    const std::vector<float> features = extractor.Extract(Instructions(), filled);
    std::vector<Tensor> gradients;
    for (const auto& gradient : extractor.RawGradients(Instructions()))
      gradients.push_back(torch::tensor(gradient));
    return std::pair(torch::tensor(features).view({-1, 64}), torch::stack(gradients));
  };
  std::vector<KvCache> caches, expected_caches;
  const auto [features, gradients] = extract(there_, caches);
  const auto [expected_features, expected_gradients] = extract(here_, expected_caches);
  for (int64_t r = 0; r < features.size(0); ++r) {
    EXPECT_GT(Cosine(features[r], expected_features[r]), IsF32() ? 0.9999 : 0.99) << "row " << r;
    EXPECT_LT(RelativeError(gradients[r], expected_gradients[r]), 4 * Tolerance()) << "row " << r;
    const auto row = static_cast<size_t>(r);
    EXPECT_EQ(caches[row].length(), expected_caches[row].length());
    EXPECT_LT(RelativeError(caches[row].keys(1), expected_caches[row].keys(1)), Tolerance());
  }
}

TEST_P(DevicePlacementTest, GreedyTextOfAnEnsembleWithAPrefixCache) {
  if (!IsF32()) return;  // a near tie may fall the other way
  const auto generate = [&](const Side& side) {
    const LetterTokenizer tokenizer;
    PrefixCache prefixes(side.decoder, int64_t{1} << 20);
    Generator generator(side.decoder, tokenizer, {}, {}, nullptr, &prefixes);
    std::vector<Completion> all;
    for (int round = 0; round < 2;
         ++round) {  // the second finds its prompts, longer by a token, in the cache
      std::vector<GenerateRequest> requests;
      for (size_t i = 0; i < 4; ++i) {
        GenerateRequest r{{rows_[i + 5].tokens.begin(), rows_[i + 5].tokens.end()}, side.Mixture(), {}};
        r.prompt.resize(r.prompt.size() + static_cast<size_t>(round), 17);
        r.sampling.max_new_tokens = 12;
        r.mixing = i == 1 ? Mixing::kProbabilities : Mixing::kLogits;
        r.measure_disagreement = i == 2;
        r.num_alternatives = 2;
        if (i == 3) r.members.resize(1);
        requests.push_back(r);
      }
      for (Completion& c : generator.Run(requests)) all.push_back(std::move(c));
    }
    return all;
  };
  const std::vector<Completion> found = generate(there_), expected = generate(here_);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].text, expected[i].text) << i;
    EXPECT_EQ(found[i].reused_tokens, expected[i].reused_tokens);
    EXPECT_EQ(found[i].reused_tokens > 0, i >= 4) << i;
    ASSERT_EQ(found[i].log_probs.size(), 12u);
    for (size_t t = 0; t < 12; ++t) EXPECT_NEAR(found[i].log_probs[t], expected[i].log_probs[t], 1e-4);
  }
}

TEST_P(DevicePlacementTest, ScoresLossesAndChoices) {
  std::vector<EvalRow> rows(2);
  rows[0].prompt = RandomTokens(9, 96, 1);
  rows[1].prompt = RandomTokens(6, 96, 2);
  for (EvalRow& row : rows) row.response = {30, 31, 5, 40};
  rows[0].choices = {.shared = {30, 31}, .rest = {{5}, {6}, {7}}, .num_characters = {3, 3, 3}, .gold = 1};
  rows[1].choices = {
      .shared = {30}, .rest = {{5, 8, 9}, {6}, {11, 2}}, .num_characters = {3, 3, 3}, .gold = 1};
  for (Mixing mixing : {Mixing::kLogits, Mixing::kProbabilities}) {
    const auto measure = [&](const Side& side) {
      const Planner plan = [&](std::span<const int64_t> asked) {
        RowPlan each;
        each.members = side.Mixture();
        each.mixing = mixing;
        return std::vector<RowPlan>(asked.size(), each);
      };
      HiddenCache cache, states;
      const LossJob job{&side.decoder, rows, "", &cache};
      std::vector<double> all = MeasureLosses(job, plan);
      EXPECT_EQ(MeasureLosses(job, plan), all);  // from the cache
      const auto log_probs = MeasureChoices(job, plan, &states);
      EXPECT_EQ(MeasureChoices(job, plan, &states), log_probs);
      for (const auto& choices : log_probs) all.insert(all.end(), choices.begin(), choices.end());
      // They go to the CPU but from a GPU of which more than 16 GiB are free.
      const bool stay = FreeDeviceBytes(side.decoder.device()).value_or(0) > int64_t{16} << 30;
      for (const auto& [key, kept] : cache) EXPECT_EQ(kept.is_cpu(), !stay);
      for (const auto& [key, kept] : states) EXPECT_EQ(kept.is_cpu(), !stay);
      for (float score : ScoreTokens(side.decoder, side.Mixture(), rows[0].prompt)) all.push_back(score);
      return torch::tensor(all, torch::kDouble);
    };
    const Tensor expected = measure(here_);
    EXPECT_EQ(expected.numel(), 2 + 6 + 8);
    EXPECT_LT(RelativeError(measure(there_), expected), Tolerance());
  }
}

TEST_P(DevicePlacementTest, GatesTrainAndWeigh) {
  if (!IsF32()) return;
  const auto train = [&](const Side& side, const fs::path& folder) {
    LoraWeights lora(side.layout, side.adapters[0], side.decoder.dtype(), side.decoder.device());
    lora.SetGate(std::make_unique<Gate>(side.layout, 2, GateScore::kLinear,
                                        torch::zeros({Gate::NumParams(side.layout, 2)})));
    FinetuneOptions options = ShortTraining();
    options.dropout = 0;
    options.learning_rate = 0.05;
    TrainGates({"gates", &side.decoder, &lora, Rows(0, 12), folder}, options);
    LoraMix mix({&lora, nullptr});
    const Tensor residual = side.decoder.Forward(ResponseBatch(Rows(5, 2), 1).packed, &mix);
    return std::pair(lora.gate()->params(), side.decoder.Logits(residual));
  };
  const auto [params, logits] = train(there_, folder_ / "there");
  const auto [expected_params, expected_logits] = train(here_, folder_ / "here");
  EXPECT_GT(expected_params.norm().item<float>(), 0.1f);
  EXPECT_LT(RelativeError(params, expected_params), 1e-4);
  EXPECT_LT(RelativeError(logits, expected_logits), 1e-4);
}

TEST_P(DevicePlacementTest, MergedAdaptersOfAStudy) {
  const auto logits = [&](const Side& side) {
    const ModelConfig& config = side.decoder.config();
    const std::vector<const Adapter*> all = {&side.adapters[0], &side.adapters[1]};
    const MergedAdapter joined = MakeMerged(config, ConcatenateAdapters(config, all, {0.3, 0.7}),
                                            side.decoder.dtype(), side.decoder.device());
    const MergedAdapter mean =
        MakeMerged(config, AverageAdapters(all, {0.3, 0.7}), side.decoder.dtype(), side.decoder.device());
    LoraMix mix({joined.weights.get(), mean.weights.get()});
    return side.decoder.Logits(side.decoder.Forward(ResponseBatch(Rows(5, 2), 1).packed, &mix));
  };
  EXPECT_LT(RelativeError(logits(there_), logits(here_)), Tolerance());
}

INSTANTIATE_TEST_SUITE_P(
    Devices, DevicePlacementTest,
    testing::Combine(testing::Values(Case{"Llama", TinyLlamaConfig, torch::kFloat, 1e-5},
                                     Case{"Gemma3", TinyGemma3Config, torch::kFloat, 1e-5},
                                     Case{"LlamaBf16", TinyLlamaConfig, torch::kBFloat16, 2e-2}),
                     testing::ValuesIn(OtherDevices())),
    [](const auto& info) {
      return std::string(std::get<0>(info.param).name) +
             (std::get<1>(info.param).is_cuda() ? "Cuda" : "Guarded");
    });

}  // namespace
}  // namespace elrea
