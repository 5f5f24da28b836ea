#include "model/calibrate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/log.h"
#include "model/quantize.h"
#include "model/tensor_table.h"

namespace elrea {

using torch::Tensor;

namespace {

// sum of x x^T over the rows of x [tokens, in], f32.
Tensor SecondMoments(const Tensor& x) {
  constexpr int64_t kRows = 4096;  // converted at once
  Tensor moments = torch::zeros({x.size(1), x.size(1)});
  for (const Tensor& rows : x.split(kRows)) {
    const Tensor exact = rows.to(torch::kFloat);
    moments.addmm_(exact.t(), exact);
  }
  return moments;
}

// Sum of squares of the products of `matrix` [out, in] with inputs of these moments.
double OutputPower(const Tensor& matrix, const Tensor& moments) {
  return at::mm(matrix, moments).mul_(matrix).sum().item<double>();
}

Tensor Values(const std::shared_ptr<const MatrixCodes>& codes) {
  return FrozenMatrix({{{}, {codes, 0, codes->rows()}}}).Dense(torch::kFloat);
}

// Called by the pass after each product: quantises its matrices and puts what they give now in place of it.
class Calibrator : public LinearDelta {
 public:
  Calibrator(const ModelWeights& weights, bool nested) : weights_(weights), nested_(nested) {
    std::map<const Tensor*, Place> place;
    for (size_t l = 0; l < weights_.layers.size(); ++l) {
      LayerWeights& w = weights_.layers[l];
      const auto layer = static_cast<int64_t>(l);
      for (const Tensor* t : {&w.q, &w.k, &w.v}) place[t] = {layer, LinearGroup::kQkv};
      place[&w.o] = {layer, LinearGroup::kO};
      for (const Tensor* t : {&w.gate, &w.up}) place[t] = {layer, LinearGroup::kGateUp};
      place[&w.down] = {layer, LinearGroup::kDown};
    }
    for (const StoredTensor& stored : StoredTensors(ListTensors(weights_))) {
      if (stored.slot.codes == nullptr) continue;
      members_[place.at(stored.slot.tensor)].push_back(stored);
      ++num_matrices_;
    }
    progress_ = std::make_unique<Progress>("calibrate", num_matrices_, "matrices");
  }

  void AddForward(int64_t layer, LinearGroup group, const PackedBatch& /*batch*/, const Tensor& x, Tensor& y) override {
    const Tensor moments = SecondMoments(x);
    int64_t first = 0;
    for (const StoredTensor& stored : members_.at({layer, group})) {
      const Tensor change = Quantise(stored, moments);
      y.narrow(1, first, change.size(0)).add_(at::mm(x, change.t().to(x.scalar_type())));
      first += change.size(0);
    }
  }

  CalibratedCodes Take() {
    found_.output_error /= static_cast<double>(num_matrices_);
    found_.nearest_error /= static_cast<double>(num_matrices_);
    return std::move(found_);
  }

 private:
  using Place = std::pair<int64_t, LinearGroup>;  // layer and group

  // What the codes change in the matrix [out, in] f32.
  Tensor Quantise(const StoredTensor& stored, const Tensor& moments) {
    const Tensor values = stored.tensor.to(torch::kFloat);
    auto codes = QuantizeNf4(values, nested_, moments);
    const Tensor change = Values(codes) - values;
    const double power = std::max(OutputPower(values, moments), 1e-30);
    found_.output_error += std::sqrt(std::max(0.0, OutputPower(change, moments)) / power);
    const Tensor nearest = Values(QuantizeNf4(values, nested_)) - values;
    found_.nearest_error += std::sqrt(std::max(0.0, OutputPower(nearest, moments)) / power);
    found_.matrices[stored.slot.hf_name] = std::move(codes);
    progress_->Add(1);
    return change;
  }

  ModelWeights weights_;  // shares the decoder's tensors
  bool nested_;
  std::map<Place, std::vector<StoredTensor>> members_;
  int64_t num_matrices_ = 0;
  std::unique_ptr<Progress> progress_;
  CalibratedCodes found_;
};

}  // namespace

CalibratedCodes CalibrateNf4(const Decoder& decoder, const PackedBatch& text, bool nested) {
  const at::NoGradGuard no_grad;
  Calibrator calibrator(decoder.weights(), nested);
  decoder.Forward(text, &calibrator);
  return calibrator.Take();
}

}  // namespace elrea
