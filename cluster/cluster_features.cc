#include "cluster/cluster_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include "cluster/check_rows.h"
#include "cluster/clustering_of_labels.h"
#include "cluster/row_products.h"
#include "cluster/vector_math.h"
#include "core/error.h"
#include "core/log.h"
#include "core/options.h"
#include "core/rng.h"
#include "core/text.h"

namespace elrea {

void VisitOptions(ClusterOptions& options, OptionVisitor& visitor) {
  visitor.Section("birch", options.birch);
  visitor.Field("sample_rows", options.sample_rows, "rows BIRCH sees; the others join the nearest centroid",
                AtLeast(2));
  visitor.Field("max_size_ratio", options.max_size_ratio,
                "a cluster more than this many times the smallest one is divided again", AtLeast(1));
  visitor.Field("max_rounds", options.max_rounds, "rounds of dividing again; 0 never does", AtLeast(0));
  visitor.Field("center", options.center, "subtract the mean feature from every feature, or nothing",
                OneOf({"none", "mean"}));
  visitor.Field("seed", options.seed, "seed of the sample", AtLeast(0));
}

void CenterAndNormalize(std::span<float> row, std::span<const float> mean) {
  for (size_t d = 0; d < mean.size(); ++d) row[d] -= mean[d];
  const double norm = std::sqrt(Dot(row.data(), row.data(), static_cast<int64_t>(row.size())));
  const float scale = norm > 0 ? static_cast<float>(1 / norm) : 0;
  for (float& value : row) value *= scale;
}

namespace {

// The features as they are compared: centred and of unit length, made on demand.
class UnitRows {
 public:
  UnitRows(RowMatrix features, std::span<const float> mean) : features_(features), mean_(mean) {}

  int64_t dim() const { return features_.dim; }
  void Copy(int64_t row, float* out) const {
    std::copy_n(features_.row(row).data(), dim(), out);
    CenterAndNormalize({out, static_cast<size_t>(dim())}, mean_);
  }
  std::vector<float> Copy(const std::vector<int64_t>& rows) const {  // [rows, dim]
    std::vector<float> copy(rows.size() * dim());
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < rows.size(); ++i) Copy(rows[i], copy.data() + i * dim());
    return copy;
  }

 private:
  RowMatrix features_;
  std::span<const float> mean_;
};

struct Group {
  std::vector<int64_t> rows;  // ascending
  int64_t node = 0;           // in the history
  bool divisible = true;
};

// Normalised mean of the unit rows of each label [num_labels, dim]. `labels[i]` belongs to rows[i]. Threads
// share the columns, so each sum is added in the order of the rows.
std::vector<float> Centroids(const UnitRows& unit, const std::vector<int64_t>& rows,
                             const std::vector<int64_t>& labels, int64_t num_labels) {
  const int64_t dim = unit.dim(), count = static_cast<int64_t>(rows.size());
  constexpr int64_t kBlock = 256, kColumns = 256;
  std::vector<double> sums(num_labels * dim, 0.0);
  std::vector<float> block(kBlock * dim);
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t length = std::min(kBlock, count - begin);
#pragma omp parallel
    {
#pragma omp for schedule(static)
      for (int64_t i = 0; i < length; ++i) unit.Copy(rows[begin + i], block.data() + i * dim);
#pragma omp for schedule(static)
      for (int64_t left = 0; left < dim; left += kColumns) {
        const int64_t right = std::min(left + kColumns, dim);
        for (int64_t i = 0; i < length; ++i) {
          double* sum = sums.data() + labels[begin + i] * dim;
          for (int64_t d = left; d < right; ++d) sum[d] += block[i * dim + d];
        }
      }
    }
  }
  std::vector<float> centroids(num_labels * dim);
  for (int64_t label = 0; label < num_labels; ++label) {
    const double* sum = sums.data() + label * dim;
    const double norm = std::sqrt(std::inner_product(sum, sum + dim, sum, 0.0));
    for (int64_t d = 0; d < dim; ++d) {
      centroids[label * dim + d] = norm > 0 ? static_cast<float>(sum[d] / norm) : 0.0f;
    }
  }
  return centroids;
}

// The centroid with the largest cosine, per row; the first of equals.
std::vector<int64_t> NearestByCosine(const UnitRows& unit, const std::vector<int64_t>& rows,
                                     const std::vector<float>& centroids) {
  const int64_t dim = unit.dim(), num_centroids = static_cast<int64_t>(centroids.size()) / dim;
  std::vector<int64_t> nearest(rows.size());
#pragma omp parallel
  {
    std::vector<float> row(dim);
    std::vector<double> cosines(num_centroids);
#pragma omp for schedule(static)
    for (size_t i = 0; i < rows.size(); ++i) {
      unit.Copy(rows[i], row.data());
      DotRows(centroids.data(), num_centroids, row.data(), dim, cosines.data());
      nearest[i] = std::max_element(cosines.begin(), cosines.end()) - cosines.begin();
    }
  }
  return nearest;
}

// BIRCH on a sample of the group's rows, then all its rows to the nearest of the centroids found. Empty parts
// vanish.
std::vector<Group> Divide(const ClusterOptions& options, const UnitRows& unit, const Group& group) {
  const int64_t count = static_cast<int64_t>(group.rows.size());
  std::vector<int64_t> sample = RandomSample(count, std::min(count, options.sample_rows),
                                             static_cast<uint64_t>(options.seed), group.node);
  for (int64_t& row : sample) row = group.rows[row];
  int64_t num_labels = 0;
  std::vector<int64_t> labels;
  {
    const std::vector<float> copy = unit.Copy(sample);
    const RowMatrix sample_rows{copy.data(), static_cast<int64_t>(sample.size()), unit.dim()};
    const BirchModel model = FitBirch(options.birch, sample_rows);
    labels = PredictBirch(model, sample_rows);
    num_labels = model.num_clusters;
  }
  const std::vector<int64_t> nearest =
      NearestByCosine(unit, group.rows, Centroids(unit, sample, labels, num_labels));
  std::vector<Group> parts(num_labels);
  for (int64_t i = 0; i < count; ++i) parts[nearest[i]].rows.push_back(group.rows[i]);
  std::erase_if(parts, [](const Group& part) { return part.rows.empty(); });
  return parts;
}

// Divides `group` and enters the parts in the history. One part: the rows are too much alike to divide.
std::vector<Group> DivideAndRecord(const ClusterOptions& options, const UnitRows& unit, int64_t round,
                                   const Group& group, std::vector<ClusterNode>& history) {
  std::vector<Group> parts = Divide(options, unit, group);
  if (parts.size() < 2 && round > 0) return parts;
  std::vector<std::string> sizes;
  for (Group& part : parts) {
    part.node = static_cast<int64_t>(history.size());
    history.push_back({group.node, round, static_cast<int64_t>(part.rows.size()), -1});
    sizes.push_back(FormatCount(static_cast<int64_t>(part.rows.size())));
  }
  LogInfo("cluster", "divided round={} rows={} into={}", round, group.rows.size(), Join(sizes, " + "));
  return parts;
}

// Replaces each group that is too large by its parts. Returns whether any was divided.
bool DivideLargeGroups(const ClusterOptions& options, const UnitRows& unit, int64_t round,
                       std::vector<Group>& groups, std::vector<ClusterNode>& history) {
  size_t smallest = groups[0].rows.size();
  for (const Group& group : groups) smallest = std::min(smallest, group.rows.size());
  const double limit = options.max_size_ratio * static_cast<double>(smallest);
  std::vector<Group> next;
  bool divided = false;
  for (Group& group : groups) {
    const bool large = static_cast<double>(group.rows.size()) > limit &&
                       static_cast<int64_t>(group.rows.size()) >= options.birch.num_clusters;
    std::vector<Group> parts;
    if (large && group.divisible) parts = DivideAndRecord(options, unit, round, group, history);
    if (parts.size() > 1) {
      divided = true;
      std::move(parts.begin(), parts.end(), std::back_inserter(next));
    } else {
      group.divisible = group.divisible && parts.empty();
      next.push_back(std::move(group));
    }
  }
  groups = std::move(next);
  return divided;
}

// Centroid and statistics of a final group.
FeatureCluster Describe(const UnitRows& unit, Group group, std::span<const std::string> sources) {
  FeatureCluster cluster;
  cluster.rows = std::move(group.rows);
  cluster.centroid = Centroids(unit, cluster.rows, std::vector<int64_t>(cluster.rows.size(), 0), 1);
  std::vector<double> cosines(cluster.rows.size());
#pragma omp parallel
  {
    std::vector<float> row(unit.dim());
#pragma omp for schedule(static)
    for (size_t i = 0; i < cluster.rows.size(); ++i) {
      unit.Copy(cluster.rows[i], row.data());
      cosines[i] = Dot(row.data(), cluster.centroid.data(), unit.dim());
    }
  }
  const double count = static_cast<double>(cosines.size());
  cluster.mean_cosine = std::accumulate(cosines.begin(), cosines.end(), 0.0) / count;
  double squares = 0;
  for (double cosine : cosines) squares += (cosine - cluster.mean_cosine) * (cosine - cluster.mean_cosine);
  cluster.std_cosine = std::sqrt(squares / count);
  for (int64_t row : cluster.rows) {
    if (!sources.empty()) ++cluster.sources[sources[row]];
  }
  return cluster;
}

void CheckInput(const ClusterOptions& options, RowMatrix features, std::span<const std::string> sources) {
  CheckRows(features, "clustering");
  if (features.rows < options.birch.num_clusters) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("clustering: {} rows cannot form {} clusters; give more rows or lower birch.num_clusters",
                    features.rows, options.birch.num_clusters));
  }
  if (options.sample_rows < options.birch.num_clusters) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("clustering: a sample of {} rows cannot form {} clusters; raise sample_rows",
                            options.sample_rows, options.birch.num_clusters));
  }
  if (!sources.empty() && static_cast<int64_t>(sources.size()) != features.rows) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("clustering: {} source names for {} rows; give one per row", sources.size(),
                            features.rows));
  }
}

}  // namespace

Clustering ClusterFeatures(const ClusterOptions& options, RowMatrix features,
                           std::span<const std::string> sources) {
  CheckInput(options, features, sources);
  Clustering result;
  result.dim = features.dim;
  result.num_rows = features.rows;
  if (options.center == "mean") result.mean = MeanRow(features);
  const UnitRows unit(features, result.mean);

  Group all;
  all.rows.resize(features.rows);
  std::iota(all.rows.begin(), all.rows.end(), 0);
  result.history.push_back({-1, 0, features.rows, -1});
  std::vector<Group> groups = DivideAndRecord(options, unit, /*round=*/0, all, result.history);
  for (int64_t round = 1; round <= options.max_rounds; ++round) {
    if (!DivideLargeGroups(options, unit, round, groups, result.history)) break;
  }
  if (static_cast<int64_t>(groups.size()) < options.birch.num_clusters) {
    LogWarning("cluster", "only {} clusters of {} asked: the rows are too much alike", groups.size(),
               options.birch.num_clusters);
  }
  for (Group& group : groups) {
    result.history[group.node].cluster = static_cast<int64_t>(result.clusters.size());
    result.clusters.push_back(Describe(unit, std::move(group), sources));
  }
  return result;
}

std::vector<std::vector<int64_t>> RowGroups(const Clustering& clustering) {
  std::vector<std::vector<int64_t>> groups;
  for (const FeatureCluster& cluster : clustering.clusters) groups.push_back(cluster.rows);
  return groups;
}

Clustering ClusteringOf(RowMatrix features, const std::vector<int64_t>& labels, std::span<const std::string> sources) {
  CheckRows(features, "clustering");
  Clustering result;
  result.dim = features.dim;
  result.num_rows = features.rows;
  result.history.push_back({-1, 0, features.rows, -1});
  const UnitRows unit(features, result.mean);
  std::map<int64_t, Group> groups;
  for (int64_t i = 0; i < features.rows; ++i) groups[labels[static_cast<size_t>(i)]].rows.push_back(i);
  for (auto& [label, group] : groups) {
    result.history.push_back({0, 0, static_cast<int64_t>(group.rows.size()), static_cast<int64_t>(result.clusters.size())});
    result.clusters.push_back(Describe(unit, std::move(group), sources));
  }
  return result;
}

}  // namespace elrea
