#include "cluster/label_screen.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cluster/row_products.h"
#include "cluster/vector_math.h"

namespace elrea {
namespace {

constexpr double kDeviations = 5.5;
constexpr int64_t kTileRows = 96;
constexpr int64_t kParts = RandomRotation::kParts;
constexpr uint64_t kRotationSeed = 0x656c726561ULL;
constexpr size_t kMaxLeaders = 24;  // best estimates that are refined to find a good B

// Can a product y . z that is `estimate` by a share p of the rotated coordinates be `needed` or more?
// The estimate's variance at the value `needed` is that of sampling and that of rounding to bytes,
//   (1 - p) / (p dim) (|y|^2 |z|^2 + needed^2) + (step_y^2 |z|^2 + step_z^2 |y|^2) / (12 p).
// A larger product has a larger variance but gains on `needed` faster, so `needed` is the worst case.
class RivalTest {
 public:
  RivalTest(float squared_norm, float step, float share, int64_t dim)
      : squared_norm_(squared_norm),
        squared_step_(step * step),
        sampling_(static_cast<float>(kDeviations * kDeviations) * (1 - share) /
                  (share * static_cast<float>(dim))),
        rounding_(static_cast<float>(kDeviations * kDeviations) / (12 * share)) {}

  bool MayReach(float needed, float estimate, float other_squared_norm, float other_step) const {
    const float missing = std::max(needed - estimate, 0.0f);
    const float product = squared_norm_ * other_squared_norm;
    const float allowed =
        sampling_ * (product + needed * needed) +
        rounding_ * (squared_step_ * other_squared_norm + other_step * other_step * squared_norm_);
    return missing * missing <= allowed;
  }

 private:
  float squared_norm_, squared_step_, sampling_, rounding_;
};

}  // namespace

// One row on its way through the steps.
struct LabelScreen::Query {
  const float* row = nullptr;
  const int8_t* first_part = nullptr;  // quantised quarters of the rotated row
  const int8_t* second_part = nullptr;
  float first_scale = 0, second_scale = 0;
  float squared_norm = 0;             // |y|^2
  double score_shift = 0;             // score about the mean = score about 0 + this
  const int32_t* products = nullptr;  // [padded centers] of the first quarter

  std::vector<float> estimates;  // of y . z_c from the first quarter
  std::vector<uint8_t> is_rival;
  std::vector<int64_t> rivals;  // centers that may beat the best, and have not been scored
  std::vector<uint8_t> is_scored;
  double best_score = 0;
  int64_t best_center = -1;
};

bool LabelScreen::Suits(RowMatrix centers) {
  return HasFastByteProducts() && centers.dim >= 2048 && centers.rows >= 128;
}

LabelScreen::LabelScreen(RowMatrix centers, const std::vector<int64_t>& center_labels)
    : centers_(centers),
      labels_(center_labels.begin(), center_labels.end()),
      mean_(MeanRow(centers)),
      rotation_(centers.dim, kRotationSeed),
      first_part_(centers.rows, rotation_.part_dim()),
      second_part_(centers.rows * rotation_.part_dim()),
      first_scales_(first_part_.padded_rows()),
      second_scales_(centers.rows),
      squared_norms_(first_part_.padded_rows()),
      half_norms_(centers.rows) {
  labels_.resize(first_part_.padded_rows(), -1);
  const int64_t part = rotation_.part_dim();
#pragma omp parallel
  {
    std::vector<float> rotated(rotation_.padded_dim());
    std::vector<int8_t> bytes(part);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < centers.rows; ++i) {
      const float* center = centers.row(i).data();
      rotation_.Apply(center, mean_.data(), rotated.data());
      first_scales_[i] = Quantize(rotated.data(), part, bytes.data());
      first_part_.SetRow(i, bytes.data());
      second_scales_[i] = Quantize(rotated.data() + part, part, second_part_.data() + i * part);
      squared_norms_[i] = static_cast<float>(SquaredDistance(center, mean_.data(), centers.dim));
      half_norms_[i] = Dot(center, center, centers.dim) / 2;
    }
  }
}

void LabelScreen::Label(RowMatrix rows, int64_t* labels) const {
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t begin = 0; begin < rows.rows; begin += kTileRows) {
    LabelTile(rows.Slice(begin, std::min(kTileRows, rows.rows - begin)), labels + begin);
  }
}

void LabelScreen::LabelTile(RowMatrix rows, int64_t* labels) const {
  const int64_t part = rotation_.part_dim(), padded = first_part_.padded_rows();
  std::vector<float> rotated(rotation_.padded_dim()), scales(2 * rows.rows);
  std::vector<int8_t> first(rows.rows * part), second(rows.rows * part);
  for (int64_t i = 0; i < rows.rows; ++i) {
    rotation_.Apply(rows.row(i).data(), mean_.data(), rotated.data());
    scales[2 * i] = Quantize(rotated.data(), part, first.data() + i * part);
    scales[2 * i + 1] = Quantize(rotated.data() + part, part, second.data() + i * part);
  }
  std::vector<int32_t> products(rows.rows * padded);
  first_part_.Products(first.data(), rows.rows, products.data());
  Query query;
  query.estimates.resize(padded);
  query.is_rival.resize(padded);
  query.is_scored.resize(padded);
  for (int64_t i = 0; i < rows.rows; ++i) {
    query.row = rows.row(i).data();
    query.first_part = first.data() + i * part;
    query.second_part = second.data() + i * part;
    query.first_scale = scales[2 * i];
    query.second_scale = scales[2 * i + 1];
    const double squared_norm = SquaredDistance(query.row, mean_.data(), rows.dim);
    query.squared_norm = static_cast<float>(squared_norm);
    query.score_shift = (squared_norm - Dot(query.row, query.row, rows.dim)) / 2;
    query.products = products.data() + i * padded;
    labels[i] = LabelRow(query);
  }
}

int64_t LabelScreen::LabelRow(Query& query) const {
  query.best_center = -1;
  query.best_score = -std::numeric_limits<double>::infinity();
  std::fill(query.is_scored.begin(), query.is_scored.end(), 0);
  ScoreBestEstimates(query);
  while (true) {
    if (!FindRivals(query)) return -1;
    if (!TryRivals(query)) return labels_[query.best_center];
  }
}

double LabelScreen::ExactScore(const Query& query, int64_t center) const {
  return Dot(query.row, centers_.row(center).data(), centers_.dim) - half_norms_[center] + query.score_shift;
}

float LabelScreen::SecondEstimate(const Query& query, int64_t center) const {
  const int64_t part = rotation_.part_dim();
  return kParts * query.second_scale * second_scales_[center] *
         static_cast<float>(ByteDot(query.second_part, second_part_.data() + center * part, part));
}

// Step 1. The highest estimate alone is a poor B: among hundreds of good centers it is the luckiest, not the
// nearest. So the estimates within one deviation of it are refined with the second quarter.
void LabelScreen::ScoreBestEstimates(Query& query) const {
  const int64_t count = centers_.rows;
  const float scale = kParts * query.first_scale;
  float highest = -std::numeric_limits<float>::infinity();
  float* estimates = query.estimates.data();
  const int32_t* products = query.products;
  const float *scales = first_scales_.data(), *norms = squared_norms_.data();
#pragma omp simd reduction(max : highest)
  for (int64_t c = 0; c < count; ++c) {
    estimates[c] = scale * scales[c] * static_cast<float>(products[c]);
    highest = std::max(highest, estimates[c] - norms[c] / 2);
  }
  const float deviation = query.squared_norm / std::sqrt(static_cast<float>(rotation_.part_dim()));
  std::vector<int64_t> leaders;
  for (int64_t c = 0; c < count && leaders.size() < kMaxLeaders; ++c) {
    if (estimates[c] - norms[c] / 2 >= highest - deviation) leaders.push_back(c);
  }
  int64_t leader = leaders.front();
  float best = -std::numeric_limits<float>::infinity();
  for (int64_t c : leaders) {
    const float refined = (estimates[c] + SecondEstimate(query, c)) / 2 - norms[c] / 2;
    if (refined > best) {
      best = refined;
      leader = c;
    }
  }
  query.best_center = leader;
  query.best_score = ExactScore(query, leader);
  query.is_scored[leader] = 1;
}

// Step 2. False when so many rivals are left that a plain matrix product is cheaper.
bool LabelScreen::FindRivals(Query& query) const {
  const int64_t count = centers_.rows;
  const float best = static_cast<float>(query.best_score);
  const int32_t label = labels_[query.best_center];
  const RivalTest first_test(query.squared_norm, query.first_scale, 1.0f / kParts, rotation_.padded_dim());
  const float *estimates = query.estimates.data(), *norms = squared_norms_.data(),
              *scales = first_scales_.data();
  const int32_t* labels = labels_.data();
  const uint8_t* is_scored = query.is_scored.data();
  uint8_t* is_rival = query.is_rival.data();
#pragma omp simd
  for (int64_t c = 0; c < count; ++c) {
    const bool possible = first_test.MayReach(best + norms[c] / 2, estimates[c], norms[c], scales[c]);
    is_rival[c] = possible & (labels[c] != label) & (is_scored[c] == 0);
  }
  query.rivals.clear();
  for (int64_t c = 0; c < count; ++c) {
    if (is_rival[c]) query.rivals.push_back(c);
  }
  if (static_cast<int64_t>(query.rivals.size()) > count / 4) return false;
  const RivalTest second_test(query.squared_norm, std::max(query.first_scale, query.second_scale),
                              2.0f / kParts, rotation_.padded_dim());
  std::erase_if(query.rivals, [&](int64_t c) {
    const float estimate = (estimates[c] + SecondEstimate(query, c)) / 2;
    return !second_test.MayReach(best + norms[c] / 2, estimate, norms[c],
                                 std::max(scales[c], second_scales_[c]));
  });
  return static_cast<int64_t>(query.rivals.size()) <= count / 16;
}

// Step 3. True when a rival is nearer than the best so far. Equal scores: the earlier center counts.
bool LabelScreen::TryRivals(Query& query) const {
  bool beaten = false;
  for (int64_t c : query.rivals) {
    const double score = ExactScore(query, c);
    query.is_scored[c] = 1;
    if (score > query.best_score || (score == query.best_score && c < query.best_center)) {
      query.best_score = score;
      query.best_center = c;
      beaten = true;
    }
  }
  return beaten;
}

}  // namespace elrea
