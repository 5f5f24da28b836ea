// The fine-tuning loop on tiny random models: losses against the twin with autograd, resuming, refusals.
#include "train/finetune.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/damage.h"
#include "core/error.h"
#include "core/expect_error.h"
#include "core/json.h"
#include "core/temp_dir.h"
#include "lora/adapter_file.h"
#include "lora/testing.h"
#include "model/testing.h"
#include "train/batches.h"
#include "train/optimizer.h"
#include "train/run_state.h"
#include "train/step_plan.h"

namespace elrea {
namespace {

using torch::Tensor;

class FinetuneTest : public testing::Test {
 protected:
  FinetuneTest() : weights_(MakeTinyModel(TinyLlamaConfig(), 7)), decoder_(MakeTinyModel(TinyLlamaConfig(), 7)) {
    at::set_num_threads(1);  // more only slow such small work down on a busy machine
    for (int64_t i = 0; i < 22; ++i) {
      TokenRow row;
      row.tokens = RandomTokens(6 + i % 9, weights_.config.vocab, static_cast<uint64_t>(i));
      row.num_prompt = 3;
      storage_.push_back(row);
    }
    for (const TokenRow& row : storage_) rows_.push_back(&row);
    options_.batch_size = 4;
    options_.learning_rate = 3e-3;
    options_.max_tokens_per_pass = 30;  // several passes a step
    options_.checkpoint_every_s = 0;    // a state after every step
    options_.validate_rows = 4;
  }
  FinetuneJob Job(const fs::path& directory) const {
    return {"test", &decoder_, MakeAdapter(weights_.config, config_, 5), rows_, {rows_.begin(), rows_.begin() + 4}, directory};
  }
  void StopAfter(const fs::path& directory, int64_t steps) const {
    FinetuneJob job = Job(directory);
    job.keep_going = [steps](int64_t taken) { return taken < steps; };
    EXPECT_THROW(Finetune(job, options_), Error);
  }
  std::vector<Json> Metrics(const fs::path& directory) const {
    std::vector<Json> lines;
    ForEachLine(directory / "metrics.jsonl", [&](int64_t, std::string_view line) { lines.push_back(ParseJson(line, "metrics")); });
    return lines;
  }

  AdapterConfig config_{.rank = 4, .alpha = 8};
  ModelWeights weights_;
  Decoder decoder_;
  std::vector<TokenRow> storage_;
  RowList rows_;
  FinetuneOptions options_;
  TempDir temp_;
};

TEST_F(FinetuneTest, LossesAndAdapterEqualAutogradWithTheSameSteps) {
  options_.dropout = 0;
  FinetuneResult result = Finetune(Job(temp_ / "a"), options_);
  Tensor params = MakeAdapter(weights_.config, config_, 5).params.clone();
  AdamState adam = MakeAdamState(params.numel());
  std::vector<double> losses;
  int64_t total = 2 * 6;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    for (const auto& batch : EpochBatches(rows_, 4, options_.bucket_batches, 0, epoch)) {
      Tensor leaf = params.clone().requires_grad_(true), loss = torch::zeros({});
      int64_t count = 0;
      for (int64_t i : batch) {
        const TokenRow& row = *rows_[i];
        Tensor log_probs = torch::log_softmax(TwinLogits(weights_, config_, leaf, {row.tokens.begin(), row.tokens.end()}), 1);
        for (size_t t = row.num_prompt; t < row.tokens.size(); ++t, ++count) {
          loss = loss - log_probs[static_cast<int64_t>(t) - 1][row.tokens[t]];
        }
      }
      loss = loss / static_cast<double>(count);
      loss.backward();
      losses.push_back(loss.item<double>());
      AdamStep({}, LinearSchedule(options_.learning_rate, 0, adam.steps, total), leaf.grad(), params, adam);
    }
  }
  std::vector<double> ours;
  for (const Json& line : Metrics(temp_ / "a")) {
    if (line.contains("loss")) ours.push_back(line["loss"].get<double>());
  }
  ASSERT_EQ(ours.size(), losses.size());
  for (size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(ours[i], losses[i], 1e-4 * losses[i]) << "step " << i;
  EXPECT_LT(((result.adapter.params - params).norm() / params.norm()).item<double>(), 1e-4);
}

// tests/resume_test.cc does the same to whole runs with kill -9 at random moments.
TEST_F(FinetuneTest, GoingOnFromAnyStateEndsWithTheSameBytes) {
  Finetune(Job(temp_ / "whole"), options_);
  std::string expected = ReadFile(temp_ / "whole/adapter_model.safetensors");
  for (int64_t stop : {1, 5, 6, 7, 11}) {
    fs::path directory = temp_ / ("cut" + std::to_string(stop));
    StopAfter(directory, stop);
    EXPECT_TRUE(fs::exists(directory / "state.safetensors"));
    Finetune(Job(directory), options_);
    EXPECT_EQ(ReadFile(directory / "adapter_model.safetensors"), expected) << "stopped after step " << stop;
    EXPECT_EQ(ReadFile(directory / "checkpoint-1/optimizer.safetensors"),
              ReadFile(temp_ / "whole/checkpoint-1/optimizer.safetensors"));
    EXPECT_FALSE(fs::exists(directory / "state.safetensors"));
    EXPECT_EQ(Metrics(directory).size(), Metrics(temp_ / "whole").size());
  }
}

TEST_F(FinetuneTest, PassSizeChangesNothingButRounding) {
  options_.dropout = 0;
  FinetuneResult a = Finetune(Job(temp_ / "a"), options_);
  options_.max_tokens_per_pass = 10000;
  FinetuneResult b = Finetune(Job(temp_ / "b"), options_);
  EXPECT_LT(((a.adapter.params - b.adapter.params).norm() / b.adapter.params.norm()).item<double>(), 1e-5);
}

TEST_F(FinetuneTest, AFinishedJobIsNotTrainedAgainAndAnotherJobIsRefused) {
  FinetuneResult first = Finetune(Job(temp_ / "a"), options_);
  FinetuneResult again = Finetune(Job(temp_ / "a"), options_);
  EXPECT_TRUE(first.adapter.params.equal(again.adapter.params));
  EXPECT_EQ(first.steps, again.steps);
  options_.learning_rate *= 2;
  try {
    Finetune(Job(temp_ / "a"), options_);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    EXPECT_NE(error.message().find("options"), std::string::npos) << error.message();
  }
}

TEST_F(FinetuneTest, AStateLeftByAKillAfterTheLastStepGoesAway) {
  Finetune(Job(temp_ / "a"), options_);
  WriteFileAtomically(temp_ / "a/state.safetensors", "left behind");
  Finetune(Job(temp_ / "a"), options_);
  EXPECT_FALSE(fs::exists(temp_ / "a/state.safetensors"));
}

TEST_F(FinetuneTest, CheckpointsHoldTheMomentsOfEachEpoch) {
  Finetune(Job(temp_ / "a"), options_);
  std::vector<EpochCheckpoint> checkpoints = LoadCheckpoints(temp_ / "a", weights_.config);
  ASSERT_EQ(checkpoints.size(), 2u);
  EXPECT_EQ(checkpoints[0].moments.steps, 6);
  EXPECT_EQ(checkpoints[1].moments.steps, 12);
  EXPECT_GT(checkpoints[1].moments.v.sum().item<float>(), 0);
  EXPECT_TRUE(checkpoints[1].adapter.params.equal(LoadAdapter(temp_ / "a", weights_.config).params));
}

TEST_F(FinetuneTest, ANonFiniteLossNamesTheStepAndTheRemedy) {
  options_.learning_rate = 1e30;
  try {
    Finetune(Job(temp_ / "a"), options_);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    EXPECT_NE(error.message().find("step 2"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("learning_rate"), std::string::npos);
  }
}

TEST_F(FinetuneTest, ADamagedStateIsRefused) {
  StopAfter(temp_ / "a", 3);
  std::string bytes = ReadFile(temp_ / "a/state.safetensors");
  bytes[bytes.size() - 9] = static_cast<char>(bytes[bytes.size() - 9] ^ 1);
  WriteFileAtomically(temp_ / "a/state.safetensors", bytes);
  try {
    Finetune(Job(temp_ / "a"), options_);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    EXPECT_NE(error.message().find("state.safetensors"), std::string::npos);
  }
}

// What the checksum of the tensors does not cover, and the lines of the metrics.
TEST_F(FinetuneTest, APositionThatCannotBeIsRefused) {
  StopAfter(temp_ / "a", 3);
  const std::map<std::string, RunState> states = LoadRunStates(temp_ / "a");
  const RunState& good = states.at(".");
  const auto refused = [&](const std::function<void(RunState&)>& change) {
    RunState bad = good;
    change(bad);
    SaveRunStates(temp_ / "a", {{".", &bad}});
    ExpectError(ErrorKind::kCorrupt, {"state.safetensors", "delete"}, [&] { Finetune(Job(temp_ / "a"), options_); });
  };
  for (const int64_t bad : {int64_t{-1}, int64_t{99}, INT64_MAX, INT64_MIN}) {
    refused([&](RunState& s) { s.epoch = bad; });
    refused([&](RunState& s) { s.batch = bad; });
    refused([&](RunState& s) { s.adam.steps = bad; });
  }
  refused([&](RunState& s) {  // at the end of an epoch, which is saved as the beginning of the next
    s.epoch = 0;
    s.batch = s.adam.steps = StepsPerEpoch(rows_, options_);
  });
  refused([](RunState& s) { s.params = s.params.slice(0, 1); });
  refused([](RunState& s) { s.adam.v = s.adam.v.slice(0, 1); });
  SaveRunStates(temp_ / "a", {{".", &good}});
  WriteFileAtomically(temp_ / "a/metrics.jsonl", "{\"step\": \"x\"}\n[1]\n{}\n\xFF\n{\"step\": 2, \"loss\": 1}\n");
  Finetune(Job(temp_ / "a"), options_);
  EXPECT_EQ(Metrics(temp_ / "a")[0], Json({{"step", 2}, {"loss", 1}}));
}

TEST_F(FinetuneTest, DamagedFilesOfARunAreGoneOnFromOrRefused) {
  StopAfter(temp_ / "a", 3);
  for (const char* file : {"state.safetensors", "finetune.json", "metrics.jsonl"}) {
    const fs::path path = temp_ / "a" / file;
    const DamageOptions options{.cut_every = fs::file_size(path) / 10 + 1, .flips = 30, .flip_within = 4096};
    const DamageCounts counts = ReadDamaged(path, temp_.path().string(), options, [&] {
      fs::remove_all(temp_ / "b");
      fs::copy(temp_ / "a", temp_ / "b", fs::copy_options::recursive);
      Finetune(Job(temp_ / "b"), options_);
    });
    const bool is_cache = file == std::string_view("metrics.jsonl");  // lines that are none are left out
    EXPECT_TRUE(is_cache ? counts.refused == 0 : counts.refused > counts.cuts) << file << " " << counts.refused;
  }
}

// Three fine-tunings on rows of their own, of 22, 9 and 5 rows, with seeds of their own.
class SideBySideTest : public FinetuneTest {
 protected:
  SideBySideTest() {
    options_.dropout = 0.2;
    options_.checkpoint_every_s = 1e9;
    options_.max_tokens_per_pass = 70;  // rows of one fine-tuning may lie in two passes, and a pass hold those of three
  }
  std::vector<Finetuning> All(const fs::path& directory) const {
    std::vector<Finetuning> all;
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 22}, {13, 22}, {2, 7}}) {
      const auto i = static_cast<int64_t>(all.size());
      FinetuneJob job{"expert " + std::to_string(i), &decoder_, MakeAdapter(weights_.config, config_, 5),
                      {rows_.begin() + begin, rows_.begin() + end}, {}, directory / std::to_string(i)};
      all.push_back({std::move(job), options_});
      all.back().options.seed = 10 + i;
    }
    return all;
  }
  std::vector<FinetuneResult> Train(const fs::path& directory, int64_t count) const {
    return FinetuneSideBySide(All(directory), {"experts", directory, count});
  }
};

TEST_F(SideBySideTest, GivesTheAdaptersOfSeparateRuns) {
  const std::vector<Finetuning> alone = All(temp_ / "alone");
  for (int64_t count : {1, 2, 3}) {
    const fs::path directory = temp_ / ("together" + std::to_string(count));
    const std::vector<FinetuneResult> together = Train(directory, count);
    ASSERT_EQ(together.size(), 3u);
    for (size_t i = 0; i < alone.size(); ++i) {
      const FinetuneResult separate = Finetune(alone[i].job, alone[i].options);
      const Tensor update = separate.adapter.params - alone[i].job.start.params;
      // Of what training changed, not of the adapter, most of which is its start.
      EXPECT_LT(((together[i].adapter.params - separate.adapter.params).norm() / update.norm()).item<double>(), 1e-4);
      EXPECT_NEAR(together[i].final_loss, separate.final_loss, 1e-5 * separate.final_loss);
      EXPECT_EQ(together[i].steps, separate.steps);
      EXPECT_EQ(together[i].tokens, separate.tokens);
      const std::vector<Json> metrics = Metrics(directory / std::to_string(i)), theirs = Metrics(alone[i].job.directory);
      ASSERT_EQ(metrics.size(), theirs.size());
      for (size_t line = 0; line < metrics.size(); ++line) {
        EXPECT_EQ(metrics[line]["step"], theirs[line]["step"]);
        EXPECT_EQ(metrics[line].value("rows", Json()), theirs[line].value("rows", Json()));
      }
      EXPECT_EQ(LoadCheckpoints(directory / std::to_string(i), weights_.config).size(), 2u);
    }
    EXPECT_FALSE(fs::exists(directory / "state.safetensors"));
  }
}

TEST_F(SideBySideTest, GoingOnFromAnyStateEndsWithTheSameBytes) {
  const int64_t count = 2;  // the third begins when the second is done
  Train(temp_ / "whole", count);
  for (int64_t stop : {1, 3, 6, 7, 11}) {
    const fs::path directory = temp_ / ("cut" + std::to_string(stop));
    std::vector<Finetuning> all = All(directory);
    all[0].job.keep_going = [stop](int64_t taken) { return taken < stop; };
    EXPECT_THROW(FinetuneSideBySide(all, {"experts", directory, count}), Error);
    EXPECT_TRUE(fs::exists(directory / "state.safetensors"));
    Train(directory, count);
    for (const char* file : {"0/adapter_model.safetensors", "1/adapter_model.safetensors", "2/adapter_model.safetensors",
                             "1/checkpoint-1/optimizer.safetensors", "2/checkpoint-2/optimizer.safetensors"}) {
      EXPECT_EQ(ReadFile(directory / file), ReadFile(temp_ / "whole" / file)) << file << ", stopped after " << stop;
    }
    EXPECT_EQ(Metrics(directory / "0").size(), Metrics(temp_ / "whole/0").size());
    EXPECT_FALSE(fs::exists(directory / "state.safetensors"));
  }
}

// Killed after one was marked finished and before the others were: the saved state still holds it.
TEST_F(SideBySideTest, AKillBetweenTwoMarksLeavesNoTrace) {
  Train(temp_ / "whole", 3);
  const fs::path directory = temp_ / "cut";
  std::vector<Finetuning> all = All(directory);
  all[0].job.keep_going = [](int64_t taken) { return taken < 8; };  // the others are done, and marked now
  EXPECT_THROW(FinetuneSideBySide(all, {"experts", directory, 3}), Error);
  Json manifest = ReadJsonFile(directory / "1/finetune.json");
  ASSERT_TRUE(manifest.contains("result"));
  manifest.erase("result");
  WriteJsonFile(directory / "1/finetune.json", manifest);
  Train(directory, 3);
  for (const char* file : {"0/adapter_model.safetensors", "1/adapter_model.safetensors", "2/adapter_model.safetensors"}) {
    EXPECT_EQ(ReadFile(directory / file), ReadFile(temp_ / "whole" / file)) << file;
  }
  EXPECT_EQ(Metrics(directory / "1").size(), Metrics(temp_ / "whole/1").size());
}

TEST_F(SideBySideTest, AFinishedSetIsNotTrainedAgainAndAnotherStateIsRefused) {
  const std::vector<FinetuneResult> first = Train(temp_ / "a", 3);
  const std::vector<FinetuneResult> again = Train(temp_ / "a", 3);
  EXPECT_TRUE(first[2].adapter.params.equal(again[2].adapter.params));

  std::vector<Finetuning> all = All(temp_ / "b");
  all[0].job.keep_going = [](int64_t taken) { return taken < 2; };
  EXPECT_THROW(FinetuneSideBySide(all, {"experts", temp_ / "b", 3}), Error);
  all.pop_back();
  all[0].job.keep_going = {};
  try {
    FinetuneSideBySide(all, {"experts", temp_ / "b", 3});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    EXPECT_NE(error.message().find("state.safetensors"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("'2'"), std::string::npos) << error.message();
  }
}

TEST_F(SideBySideTest, AsManyAsFillAPass) {
  std::vector<Finetuning> all = All(temp_ / "a");
  int64_t tokens = 0;
  for (const Finetuning& f : all) {
    for (const TokenRow* row : f.job.rows) tokens += static_cast<int64_t>(row->tokens.size());
  }
  const double step = static_cast<double>(tokens) / (6 + 3 + 2);
  for (const auto& [passes, expected] : {std::pair<double, int64_t>{0.3, 1}, {1.0, 1}, {2.0, 2}, {40, 3}}) {
    all[0].options.max_tokens_per_pass = std::llround(passes * step);
    EXPECT_EQ(SideBySideToFillPasses(all), expected) << passes;
  }
}

TEST(MakeAdapterConfigTest, UnknownModulesAreNamed) {
  EXPECT_EQ(MakeAdapterConfig({}).alpha, 32);
  EXPECT_THROW(MakeAdapterConfig({.target_modules = {"q_proj", "w_proj"}}), Error);
}

}  // namespace
}  // namespace elrea
