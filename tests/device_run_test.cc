// A whole run and a study on other devices against the CPU: every stage between the data and the report.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "cli/backbone.h"
#include "cli/evaluation.h"
#include "cli/pipeline.h"
#include "cli/study_config.h"
#include "lora/adapter_file.h"
#include "study/study.h"
#include "tests/guarded_device.h"
#include "tests/tiny_run.h"

namespace elrea {
namespace {

class DeviceRunTest : public testing::TestWithParam<torch::Device> {
 protected:
  DeviceRunTest() { at::set_num_threads(1); }
  TinyRun rows_;
};

// A run with its backbone on `device`. Reports show four digits of losses that agree up to rounding: under this seed none
// lies so near the middle between two that the devices round it to different sides.
elrea::Run OpenOn(const TinyRun& rows, const std::string& name, torch::Device device) {
  elrea::Run run = OpenRunForWriting({rows.folder() / name, rows.config(), {"finetune.seed=2"}});
  ModelWeights weights = run.backbone.decoder->weights();
  MoveWeights(weights, device);
  run.backbone.decoder = std::make_unique<Decoder>(std::move(weights));
  return run;
}

// A study of the run's rows under one seed.
StudyResult Study(const elrea::Run& run, const std::vector<std::string>& methods) {
  RunData data = PrepareData(run);
  StudyJob job{run.backbone.decoder.get(), run.backbone.tokenizer.get(), run.backbone.chat.get()};
  job.train = std::move(data.train);
  job.validation = std::move(data.validation);
  job.test = LoadTestRows(run);
  SetPipelineOptions(run.config, job);
  job.study.methods = methods;
  job.study.seeds = {0};
  job.study.answer_limit = 2;
  job.study.permutation_samples = 10;
  job.directory = run.paths.root / "study";
  return RunStudy(job);
}

double RelativeError(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

TEST_P(DeviceRunTest, ARunGivesTheAdaptersAnswersAndReportOfTheCpu) {
  const auto go = [&](const elrea::Run& run) {
    const RunData data = PrepareData(run);
    TrainBase(run, data);
    ExtractFeatures(run, data);
    ClusterRows(run, data);
    TrainExperts(run, data);
    return ReportText(EvaluateRun(run));
  };
  const elrea::Run there = OpenOn(rows_, "there", GetParam()), here = OpenOn(rows_, "here", torch::kCPU);
  EXPECT_EQ(go(there), go(here));
  const auto files = ResultFiles(there.paths.root), expected = ResultFiles(here.paths.root);
  EXPECT_EQ(files.size(), expected.size());
  const ModelConfig& model = here.backbone.decoder->config();
  for (const auto& [name, text] : expected) {
    ASSERT_TRUE(files.contains(name)) << name;
    if (!name.ends_with("adapter_model.safetensors")) continue;
    const auto params = [&](const elrea::Run& run) {
      return LoadAdapter((run.paths.root / name).parent_path(), model).params;
    };
    EXPECT_LT(RelativeError(params(there), params(here)), 1e-4) << name;
  }
}

TEST_P(DeviceRunTest, AStudyGivesTheLossesOfTheCpu) {
  const std::vector<std::string> methods = {"base", "ensemble", "moe_routing",  "moe_merging",
                                            "mole", "arrow",    "hidden_states"};
  const StudyResult found = Study(OpenOn(rows_, "there", GetParam()), methods);
  const StudyResult expected = Study(OpenOn(rows_, "here", torch::kCPU), methods);
  ASSERT_EQ(found.records.size(), methods.size());
  for (size_t i = 0; i < methods.size(); ++i) {
    SCOPED_TRACE(methods[i]);
    ASSERT_TRUE(found.records[i].outcomes.contains(0)) << found.records[i].failure;
    const auto &losses = found.records[i].outcomes.at(0).losses,
               &cpu = expected.records[i].outcomes.at(0).losses;
    ASSERT_EQ(losses.size(), cpu.size());
    for (size_t row = 0; row < cpu.size(); ++row) EXPECT_NEAR(losses[row], cpu[row], 1e-3 * cpu[row]) << row;
  }
}

// What was trained on one device may answer, and be trained further, on another.
TEST(RunOptions, TheDeviceMayChange) {
  PipelineConfig cpu, cuda;
  cuda.model.device = "cuda";
  EXPECT_TRUE(DifferencesThatMatter(cpu, cuda).empty());
}

TEST(RunOptions, AutoIsBf16OnAGpu) {
  BackboneOptions options;
  options.device = "cuda";
  EXPECT_EQ(ResolveDtype(options), "bf16");
  options.dtype = "f32";
  EXPECT_EQ(ResolveDtype(options), "f32");
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceRunTest, testing::ValuesIn(OtherDevices()), NameOfDevice);

}  // namespace
}  // namespace elrea
