// Adapters on a GPU against the same on the CPU: dropout masks bit for bit, single rows each under its own adapter, and
// a mix of short and long ranges of rows.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "lora/dropout.h"
#include "lora/lora_mix.h"
#include "lora/low_rank_rows.h"
#include "lora/testing.h"
#include "model/testing.h"
#include "model/testing_cuda.h"

namespace elrea {
namespace {

using torch::Tensor;

class LoraCudaTest : public CudaTest, public testing::WithParamInterface<torch::Dtype> {
 protected:
  double tolerance() const { return GetParam() == torch::kFloat ? 1e-5 : 1e-2; }
  Tensor Random(int64_t rows, int64_t columns) const { return torch::randn({rows, columns}).to(GetParam()); }
};

TEST_P(LoraCudaTest, DropoutMasksAreThoseOfTheCpu) {
  for (const int64_t width : {576, 64, 19}) {
    const DropoutRows rows{{0.3, 77}, 5, 38, /*first_place=*/1000};
    const Tensor x = Random(41, width);
    Tensor out = Random(41, width), gpu_out = OnGpu(out);
    ApplyDropout(x, rows, out);
    ApplyDropout(OnGpu(x), rows, gpu_out);
    EXPECT_TRUE(gpu_out.cpu().equal(out)) << width;
    Tensor in_place = OnGpu(x);
    ApplyDropout(in_place, rows, in_place);
    EXPECT_TRUE(in_place.narrow(0, 5, 33).equal(gpu_out.narrow(0, 5, 33))) << width;
    Tensor sum = Random(41, width), gpu_sum = OnGpu(sum);
    AddDropped(x, rows, sum);
    AddDropped(OnGpu(x), rows, gpu_sum);
    ExpectCloseToCpu(gpu_sum, sum, tolerance(), "sum");  // the CPU may add before it rounds the product
  }
}

// Adapters of several ranks and targets for one backbone, on both devices.
struct Adapters {
  Adapters(const ModelConfig& config, torch::Dtype dtype) {
    for (const int64_t rank : {4, 16, 5}) {
      AdapterConfig adapter{.rank = rank, .alpha = 8};
      if (rank == 16) {
        adapter.targets = {};  // nothing in some groups, a part of another
        adapter.targets[static_cast<size_t>(Projection::kK)] = true;
        adapter.targets[static_cast<size_t>(Projection::kDown)] = true;
      }
      layouts.push_back(std::make_unique<AdapterLayout>(config, adapter));
      const Adapter random = MakeRandomAdapter(config, adapter, static_cast<uint64_t>(rank));
      cpu.push_back(std::make_unique<LoraWeights>(*layouts.back(), random, dtype, torch::kCPU));
      gpu.push_back(std::make_unique<LoraWeights>(*layouts.back(), random, dtype, torch::kCUDA));
    }
  }
  std::vector<std::unique_ptr<AdapterLayout>> layouts;
  std::vector<std::unique_ptr<LoraWeights>> cpu, gpu;
};

int64_t GroupOut(const ModelConfig& config, LinearGroup group) {
  int64_t out = 0;
  for (const Projection p : GroupMembers(config, group)) out += ProjectionOut(config, p);
  return out;
}

TEST_P(LoraCudaTest, AMixOfShortAndLongRanges) {
  ModelConfig config = TinyLlamaConfig();
  config.dim = 576;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  config.ffn = 1536;
  const Adapters adapters(config, GetParam());
  const std::vector<int64_t> offsets = {0, 1, 2, 5, 6, 90, 91, 160, 162, 2300};  // ranges below and above every limit
  const std::vector<int> chosen = {0, 1, 2, -1, 0, 2, 1, 0, 2};                // -1: none
  std::vector<const LoraWeights*> on_cpu, on_gpu;
  for (const int i : chosen) {
    on_cpu.push_back(i < 0 ? nullptr : adapters.cpu[static_cast<size_t>(i)].get());
    on_gpu.push_back(i < 0 ? nullptr : adapters.gpu[static_cast<size_t>(i)].get());
  }
  PackedBatch batch;
  batch.offsets = offsets;
  LoraMix cpu_mix(on_cpu), gpu_mix(on_gpu);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (const LinearGroup group : {LinearGroup::kQkv, LinearGroup::kO, LinearGroup::kGateUp, LinearGroup::kDown}) {
      const Tensor x = Random(offsets.back(), ProjectionIn(config, GroupMembers(config, group)[0]));
      Tensor y = Random(offsets.back(), GroupOut(config, group)), gpu_y = OnGpu(y);
      cpu_mix.AddForward(layer, group, batch, x, y);
      gpu_mix.AddForward(layer, group, batch, OnGpu(x), gpu_y);
      // In bf16 long ranges round h, which the sums of `rank` products then share.
      ExpectCloseToCpu(gpu_y, y, GetParam() == torch::kFloat ? 2e-5 : 5e-2, "y");
    }
  }
}

TEST_P(LoraCudaTest, ManySingleRows) {
  const ModelConfig config = TinyGemma3Config();
  const Adapters adapters(config, GetParam());
  const int64_t tokens = 2001;
  std::vector<LowRankRow> cpu_rows, gpu_rows;
  for (int64_t row = tokens - 1; row >= 0; row -= 2) {
    const auto i = static_cast<size_t>(row % 3);
    cpu_rows.push_back({adapters.cpu[i].get(), row});
    gpu_rows.push_back({adapters.gpu[i].get(), row});
  }
  const LowRankRows on_cpu(cpu_rows, torch::kCPU), on_gpu(gpu_rows, torch::kCUDA);
  for (const LinearGroup group : {LinearGroup::kQkv, LinearGroup::kO, LinearGroup::kGateUp, LinearGroup::kDown}) {
    const Tensor x = Random(tokens, ProjectionIn(config, GroupMembers(config, group)[0])), gpu_x = OnGpu(x);
    Tensor y = Random(tokens, GroupOut(config, group)), gpu_y = OnGpu(y);
    if (!CanAddLowRankRows(*adapters.gpu[0], gpu_x, gpu_y)) GTEST_SKIP() << "built without ELREA_CUDA";
    on_cpu.Add(3, group, x, y);
    on_gpu.Add(3, group, gpu_x, gpu_y);
    ExpectCloseToCpu(gpu_y, y, tolerance(), "y");
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LoraCudaTest, testing::Values(torch::kFloat, torch::kBFloat16),
                         [](const auto& info) { return info.param == torch::kFloat ? "f32" : "bf16"; });

}  // namespace
}  // namespace elrea
