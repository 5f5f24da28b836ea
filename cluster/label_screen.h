// The fast path of NearestLabels: cheap estimates rule out almost every center, exact distances decide among
// the rest.
//
// About the mean center, the nearest center maximises score(c) = y . z_c - |z_c|^2 / 2, with y and z_c the
// row and the center minus that mean. A random rotation (random_rotation.h) makes a quarter of the
// coordinates an unbiased sample of a product y . z_c, whose standard deviation is known; in 8-bit integers a
// quarter costs 1/16 of a float product.
//   1. Estimate all scores of a row. Best exact score B among the few highest estimates, label L.
//   2. A center of another label can beat B only if y . z_c >= B + |z_c|^2 / 2. Rule out those whose estimate
//   is
//      kDeviations standard deviations below that, then again with half of the coordinates.
//   3. Exact scores of what is left. If one beats B, take its label for L and go to 2.
// Only labels matter, so centers of label L need no work: usually a handful of exact distances per row.
// A label differs from the exact one only if the estimate for the nearest center errs by more than
// kDeviations = 5.5 standard deviations (4e-8) and no other center of its label is nearer than B; it is the
// same on every run, as the rotation is fixed.
#pragma once

#include <cstdint>
#include <vector>

#include "cluster/byte_products.h"
#include "cluster/random_rotation.h"
#include "cluster/row_matrix.h"

namespace elrea {

// Const-shareable. Holds views of centers and labels: they must outlive it.
class LabelScreen {
 public:
  // Whether estimates are likely to pay: rows long enough for sharp estimates, and enough centers.
  static bool Suits(RowMatrix centers);

  LabelScreen(RowMatrix centers, const std::vector<int64_t>& center_labels);

  // Sets labels[i] of each row, or -1 where too many centers were left and a plain product is faster.
  void Label(RowMatrix rows, int64_t* labels) const;

 private:
  struct Query;

  void LabelTile(RowMatrix rows, int64_t* labels) const;
  int64_t LabelRow(Query& query) const;
  double ExactScore(const Query& query, int64_t center) const;
  float SecondEstimate(const Query& query, int64_t center) const;
  void ScoreBestEstimates(Query& query) const;
  bool FindRivals(Query& query) const;
  bool TryRivals(Query& query) const;

  RowMatrix centers_;
  std::vector<int32_t> labels_;
  std::vector<float> mean_;  // [dim]
  RandomRotation rotation_;
  BytePanel first_part_;             // quantised first quarter of the rotated centers
  std::vector<int8_t> second_part_;  // [centers, part_dim]: the second quarter
  std::vector<float> first_scales_, second_scales_;
  std::vector<float> squared_norms_;  // |z_c|^2
  std::vector<double> half_norms_;    // |c|^2 / 2 of the original center
};

}  // namespace elrea
