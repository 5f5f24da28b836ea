// The product over likely columns against the product over all of them and against its own formula.
#include "model/likely_columns.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/token_loss.h"

namespace elrea {
namespace {

using torch::Tensor;

constexpr int64_t kVocab = 2048, kDim = 48, kTokens = 37;

double RelativeError(const Tensor& ours, const Tensor& expected) {
  return ((ours.to(torch::kFloat) - expected).norm() / expected.norm()).item<double>();
}

class LikelyColumnsTest : public testing::Test {
 protected:
  LikelyColumnsTest() {
    torch::manual_seed(3);
    head_ = torch::randn({kVocab, kDim}).to(torch::kBFloat16);
    targets_ = torch::randint(kVocab, {kTokens}, torch::kLong);
  }
  // The product, with the columns' largest probabilities merged in two parts.
  Tensor Multiply(const Tensor& probabilities, const Tensor& grad) {
    LikelyColumns columns(head_);
    Tensor product = torch::empty({kTokens, kDim}, torch::kBFloat16);
    for (int chunk = 0; chunk < 2; ++chunk) {  // the second one knows nothing of the first
      columns.Begin();
      for (const Tensor& part : probabilities.split(20)) {
        const Tensor top = std::get<0>((chunk == 0 ? torch::ones_like(part) : part).max(0)).contiguous();
        columns.Merge({top.data_ptr<float>(), static_cast<size_t>(kVocab)});
      }
      columns.Multiply(grad, targets_, product);
    }
    return product.to(torch::kFloat);
  }
  Tensor Probabilities(double sharpness) const { return torch::softmax(torch::randn({kTokens, kVocab}) * sharpness, 1); }
  Tensor Gradient(const Tensor& probabilities) const {
    return (probabilities - at::one_hot(targets_, kVocab)).to(torch::kBFloat16);
  }

  Tensor head_, targets_;
};

TEST_F(LikelyColumnsTest, UnlikelyColumnsShareTheMeanRow) {
  Tensor probabilities = Probabilities(1);
  probabilities.slice(1, 100) *= 1e-3 * kNegligibleProbability;  // all but the first hundred
  const Tensor grad = Gradient(probabilities), wide = grad.to(torch::kFloat), head = head_.to(torch::kFloat);
  const Tensor product = Multiply(probabilities, grad);
  // What is left out is nothing beside the targets' columns, which are far behind the first hundred and must be there.
  EXPECT_LT(RelativeError(product, at::mm(wide, head)), 3e-3);

  // Negligible one by one, but not together: the mean row has them.
  Tensor flat = torch::full({kTokens, kVocab}, 0.5f * kNegligibleProbability);
  flat.slice(1, 0, 8) = 0.1f;
  const Tensor flat_grad = Gradient(flat);
  Tensor shifted = head_.clone();
  head_ = shifted.add_(3);  // a mean that is not zero
  Tensor with_mean = Multiply(flat, flat_grad), all = at::mm(flat_grad.to(torch::kFloat), head_.to(torch::kFloat));
  EXPECT_LT(RelativeError(with_mean, all), 5e-3);
  Tensor without = flat_grad.clone();
  without.masked_fill_((flat < kNegligibleProbability).logical_and(at::one_hot(targets_, kVocab) == 0), 0);
  EXPECT_GT(RelativeError(at::mm(without.to(torch::kFloat), head_.to(torch::kFloat)), all), 1e-2);
}

TEST_F(LikelyColumnsTest, AllColumnsWhereManyAreLikely) {
  const Tensor probabilities = Probabilities(0.1), grad = Gradient(probabilities);
  EXPECT_TRUE(Multiply(probabilities, grad).equal(at::mm(grad, head_).to(torch::kFloat)));
}

TEST_F(LikelyColumnsTest, TheLossGradientOfSharpAndFlatTokens) {
  for (double sharpness : {0.2, 1.0, 3.0}) {
    const Tensor normed = (torch::randn({kTokens, kDim}) * sharpness).to(torch::kBFloat16), weights = torch::rand({kTokens}) + 0.1;
    Tensor grad;
    TokenLoss(normed, head_, 0, targets_, weights, &grad, VocabularyGradient::kLikely);
    Tensor x = normed.to(torch::kFloat).requires_grad_(true);
    const Tensor log_probs = torch::log_softmax(at::mm(x, head_.to(torch::kFloat).t()), 1);
    (-log_probs.gather(1, targets_.unsqueeze(1)).squeeze(1) * weights).sum().backward();
    EXPECT_LT(RelativeError(grad, x.grad()), 2e-2) << sharpness;  // logits in bf16 are off by up to 2^-8 of themselves
  }
}

}  // namespace
}  // namespace elrea
