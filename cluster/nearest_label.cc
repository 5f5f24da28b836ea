#include "cluster/nearest_label.h"

#include <algorithm>
#include <limits>

#include "cluster/label_screen.h"
#include "cluster/row_products.h"
#include "cluster/vector_math.h"

namespace elrea {
namespace {

// argmin_c |x - c|^2 = argmin_c (|c|^2 - 2 x . c), about the mean center.
std::vector<int64_t> NearestCenters(RowMatrix centers, RowMatrix rows) {
  const std::vector<float> mean = MeanRow(centers);
  std::vector<int64_t> nearest(rows.rows, 0);
  std::vector<double> smallest(rows.rows, std::numeric_limits<double>::infinity());
  constexpr int64_t kLeft = 128;
  for (int64_t begin = 0; begin < centers.rows; begin += RowPanel::kMaxRows) {
    const int64_t width = std::min(RowPanel::kMaxRows, centers.rows - begin);
    const RowPanel panel(centers.Slice(begin, width), mean.data());
    std::vector<double> norms(width);
    for (int64_t j = 0; j < width; ++j) {
      norms[j] = SquaredDistance(centers.row(begin + j).data(), mean.data(), centers.dim);
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t top = 0; top < rows.rows; top += kLeft) {
      const int64_t height = std::min(kLeft, rows.rows - top);
      std::vector<double> products(height * width);
      panel.Products(rows.Slice(top, height), mean.data(), products.data());
      for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          const double distance = norms[j] - 2 * products[i * width + j];
          if (distance < smallest[top + i]) {
            smallest[top + i] = distance;
            nearest[top + i] = begin + j;
          }
        }
      }
    }
  }
  return nearest;
}

// Labels the rows that have none (-1), a few thousand at a time so that copying them out stays cheap in
// memory.
void LabelTheRest(RowMatrix centers, const std::vector<int64_t>& center_labels, RowMatrix rows,
                  std::vector<int64_t>& labels) {
  constexpr size_t kBatch = 2048;
  std::vector<int64_t> open;
  for (int64_t i = 0; i < rows.rows; ++i) {
    if (labels[i] < 0) open.push_back(i);
    if (open.empty() || (open.size() < kBatch && i + 1 < rows.rows)) continue;
    RowMatrix batch = rows.Slice(open.front(), static_cast<int64_t>(open.size()));
    std::vector<float> copy;
    if (open.back() - open.front() + 1 != batch.rows) {
      for (int64_t row : open) copy.insert(copy.end(), rows.row(row).begin(), rows.row(row).end());
      batch.data = copy.data();
    }
    const std::vector<int64_t> nearest = NearestCenters(centers, batch);
    for (size_t k = 0; k < open.size(); ++k) labels[open[k]] = center_labels[nearest[k]];
    open.clear();
  }
}

}  // namespace

std::vector<int64_t> NearestLabels(RowMatrix centers, const std::vector<int64_t>& center_labels,
                                   RowMatrix rows) {
  std::vector<int64_t> labels(rows.rows, -1);
  if (LabelScreen::Suits(centers)) LabelScreen(centers, center_labels).Label(rows, labels.data());
  LabelTheRest(centers, center_labels, rows, labels);
  return labels;
}

std::vector<int64_t> NearestLabelsExact(RowMatrix centers, const std::vector<int64_t>& center_labels,
                                        RowMatrix rows) {
  std::vector<int64_t> labels(rows.rows, -1);
  LabelTheRest(centers, center_labels, rows, labels);
  return labels;
}

}  // namespace elrea
