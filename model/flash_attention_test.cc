// Attention on a GPU against the CPU's in f32 on the same (rounded) numbers: groups, windows, caches and odd lengths.
#include "model/flash_attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <list>

#include "model/kv_cache.h"

namespace elrea {
namespace {

using torch::Tensor;

double RelativeError(const Tensor& ours, const Tensor& reference) {
  const Tensor cpu = ours.cpu().to(torch::kFloat);
  return (cpu - reference).norm().item<double>() / std::max(1.0, reference.norm().item<double>());
}

class FlashAttentionCuda : public testing::TestWithParam<AttentionShape> {
 protected:
  void SetUp() override {
    if (!at::hasCUDA() || !CanAttendOnCuda(shape_, Random(1))) GTEST_SKIP() << "no GPU, or a build without CUDA";
  }
  int64_t q_width() const { return shape_.heads * shape_.head_dim; }
  int64_t kv_width() const { return shape_.kv_heads * shape_.head_dim; }
  // bf16 rows of qkv on the GPU.
  Tensor Random(int64_t rows) const {
    return at::randn({rows, q_width() + 2 * kv_width()}).to(torch::kCUDA, torch::kBFloat16);
  }
  static Tensor Reference(const Tensor& t) { return t.cpu().to(torch::kFloat); }

  const AttentionShape shape_ = GetParam();
};

TEST_P(FlashAttentionCuda, ForwardAndBackward) {
  PackedBatch batch;
  batch.offsets = {0, 1, 38, 103, 303};  // 1, 37, 65 and 200 tokens
  const Tensor qkv = Random(303), grad_out = at::randn({303, q_width()}).to(torch::kCUDA, torch::kBFloat16);
  Tensor out = torch::full_like(grad_out, NAN), reference = torch::empty({303, q_width()});
  Attention(shape_, batch, 0, qkv, out);
  Attention(shape_, batch, 0, Reference(qkv), reference);
  EXPECT_LT(RelativeError(out, reference), 5e-3);
  Tensor grad = torch::full_like(qkv, NAN), grad_reference = torch::empty(qkv.sizes());
  AttentionBackward(shape_, batch, qkv, out, grad_out, grad);
  AttentionBackward(shape_, batch, Reference(qkv), reference, Reference(grad_out), grad_reference);
  EXPECT_LT(RelativeError(grad, grad_reference), 1e-2);
}

// Prompts into caches, then one token each, then passes in which some segments read one token and others several.
TEST_P(FlashAttentionCuda, ContinuesCaches) {
  constexpr int64_t kLayer = 1;
  ModelConfig config;
  config.layers = 2;
  config.heads = shape_.heads;
  config.kv_heads = shape_.kv_heads;
  config.head_dim = shape_.head_dim;
  std::list<KvCache> ours, references;
  PackedBatch batch, reference_batch;
  for (int s = 0; s < 4; ++s) {
    batch.caches.push_back(&ours.emplace_back(config, torch::kBFloat16, torch::kCUDA, 8));  // they must grow
    reference_batch.caches.push_back(&references.emplace_back(config, torch::kFloat, torch::kCPU, 8));
  }
  const std::vector<std::vector<int64_t>> passes = {{0, 1, 38, 103, 303}, {0, 1, 2, 3, 4}, {0, 1, 8, 9, 12}, {0, 1, 2, 3, 4}};
  for (const std::vector<int64_t>& offsets : passes) {
    batch.offsets = reference_batch.offsets = offsets;
    batch.device_offsets.reset();  // another pass over the same caches
    const Tensor qkv = Random(batch.num_tokens());
    Tensor out = torch::full({batch.num_tokens(), q_width()}, NAN, qkv.options()), reference = torch::empty(out.sizes());
    for (int64_t layer = 0; layer <= kLayer; ++layer) {
      Attention(shape_, batch, layer, qkv, out);
      Attention(shape_, reference_batch, layer, Reference(qkv), reference);
    }
    EXPECT_LT(RelativeError(out, reference), 5e-3) << batch.num_tokens() << " tokens";
    for (int64_t s = 0; s < 4; ++s) {
      batch.cache(s)->Advance(batch.length(s));
      reference_batch.cache(s)->Advance(batch.length(s));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, FlashAttentionCuda,
                         testing::Values(AttentionShape{9, 3, 64, 0.125, 0}, AttentionShape{9, 3, 64, 0.125, 16},
                                         AttentionShape{4, 1, 256, 0.0625, 0}, AttentionShape{16, 2, 128, 0.09, 50},
                                         AttentionShape{2, 2, 64, 0.125, 0, 30.0}));

}  // namespace
}  // namespace elrea
