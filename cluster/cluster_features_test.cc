#include "cluster/cluster_features.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "cluster/clustering_of_labels.h"
#include "cluster/clusters_file.h"
#include "cluster/testing.h"
#include "cluster/vector_math.h"
#include "core/error.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

ClusterOptions SmallOptions() {
  ClusterOptions options;
  options.birch.num_clusters = 3;
  options.sample_rows = 200;
  return options;
}

// 300 rows about three directions, named by their direction.
struct Example {
  TestRows rows = UnitMixture(300, 40, 3, 0.4, 7);
  std::vector<std::string> sources;
  Example() {
    for (int64_t i = 0; i < 300; ++i) sources.push_back(std::string(1, static_cast<char>('a' + i % 3)));
  }
};

// The labels of a clustering give its centroids and statistics again.
TEST(ClusteringOfTest, DescribesAGivenPartition) {
  const Example example;
  const Clustering found = ClusterFeatures(SmallOptions(), example.rows.view(), example.sources);
  std::vector<int64_t> labels(300);
  for (size_t c = 0; c < found.clusters.size(); ++c) {
    for (int64_t row : found.clusters[c].rows) labels[static_cast<size_t>(row)] = 10 * static_cast<int64_t>(c);
  }
  const Clustering made = ClusteringOf(example.rows.view(), labels, example.sources);
  ASSERT_EQ(made.clusters.size(), found.clusters.size());
  for (size_t c = 0; c < made.clusters.size(); ++c) {
    EXPECT_EQ(made.clusters[c].rows, found.clusters[c].rows);
    EXPECT_EQ(made.clusters[c].centroid, found.clusters[c].centroid);
    EXPECT_EQ(made.clusters[c].sources, found.clusters[c].sources);
  }
  const TempDir folder;  // the form on disk holds, too
  WriteClusters(folder.path(), made, SmallOptions());
  EXPECT_EQ(ReadClusters(folder.path()).clusters.size(), 3u);
}

TEST(ClusterFeaturesTest, FindsTheDirectionsAndDescribesThem) {
  const Example example;
  const Clustering result = ClusterFeatures(SmallOptions(), example.rows.view(), example.sources);
  ASSERT_EQ(result.clusters.size(), 3u);
  for (const FeatureCluster& cluster : result.clusters) {
    ASSERT_EQ(cluster.rows.size(), 100u);
    EXPECT_EQ(cluster.sources.size(), 1u);
    EXPECT_EQ(cluster.sources.begin()->second, 100);
    EXPECT_NEAR(Dot(cluster.centroid.data(), cluster.centroid.data(), 40), 1, 1e-6);
    std::vector<double> mean(40, 0), cosines;
    for (int64_t row : cluster.rows) {
      EXPECT_EQ(row % 3, cluster.rows[0] % 3);
      for (int64_t d = 0; d < 40; ++d) mean[d] += example.rows.view().row(row)[d];
      cosines.push_back(Dot(example.rows.view().row(row).data(), cluster.centroid.data(), 40));
    }
    double norm = 0, sum = 0, squares = 0;
    for (double value : mean) norm += value * value;
    for (int64_t d = 0; d < 40; ++d) EXPECT_NEAR(cluster.centroid[d], mean[d] / std::sqrt(norm), 1e-6);
    for (double cosine : cosines) sum += cosine, squares += cosine * cosine;
    EXPECT_NEAR(cluster.mean_cosine, sum / 100, 1e-6);
    EXPECT_NEAR(cluster.std_cosine, std::sqrt(squares / 100 - sum / 100 * sum / 100), 1e-4);
  }
}

TEST(ClusterFeaturesTest, RowsOutsideTheSampleJoinTheNearestCentroid) {
  const Example example;
  ClusterOptions options = SmallOptions();
  options.sample_rows = 30;
  const Clustering result = ClusterFeatures(options, example.rows.view(), {});
  ASSERT_EQ(result.clusters.size(), 3u);
  for (const FeatureCluster& cluster : result.clusters) EXPECT_EQ(cluster.rows.size(), 100u);
}

// One direction holds most rows and has a finer structure of its own.
TestRows Lopsided() {
  const TestRows large = UnitMixture(600, 30, 1, 0.0, 21), fine = UnitMixture(600, 30, 3, 0.1, 22);
  TestRows rows = UnitMixture(40, 30, 2, 0.05, 23);
  for (int64_t i = 0; i < 600 * 30; ++i) rows.values.push_back(3 * large.values[i] + fine.values[i]);
  return rows;
}

TEST(ClusterFeaturesTest, DividesLargeClustersAgain) {
  const TestRows rows = Lopsided();
  ClusterOptions options = SmallOptions();
  options.sample_rows = 640;
  options.max_rounds = 0;
  const Clustering once = ClusterFeatures(options, rows.view(), {});
  EXPECT_EQ(once.clusters.size(), 3u);
  EXPECT_EQ(once.history.size(), 4u);
  options.max_rounds = 3;
  const Clustering again = ClusterFeatures(options, rows.view(), {});
  EXPECT_GT(again.clusters.size(), 3u);
  std::set<int64_t> seen;
  for (const FeatureCluster& cluster : again.clusters) seen.insert(cluster.rows.begin(), cluster.rows.end());
  EXPECT_EQ(seen.size(), 640u);
  // The history is a tree whose children partition their parent and whose leaves are the clusters.
  std::vector<int64_t> size_of_children(again.history.size(), 0);
  for (const ClusterNode& node : again.history) {
    if (node.parent >= 0) size_of_children[node.parent] += node.size;
  }
  size_t leaves = 0;
  for (size_t i = 0; i < again.history.size(); ++i) {
    if (again.history[i].cluster < 0) {
      EXPECT_EQ(size_of_children[i], again.history[i].size);
    } else {
      EXPECT_EQ(static_cast<int64_t>(again.clusters[again.history[i].cluster].rows.size()),
                again.history[i].size);
      ++leaves;
    }
  }
  EXPECT_EQ(leaves, again.clusters.size());
}

TEST(ClusterFeaturesTest, CentringRemovesACommonPart) {
  // Directions that differ only in a tenth of their length.
  TestRows rows = UnitMixture(300, 40, 3, 0.4, 7);
  const TestRows common = UnitMixture(1, 40, 1, 0, 8);
  for (size_t i = 0; i < rows.values.size(); ++i)
    rows.values[i] = common.values[i % 40] * 10 + rows.values[i];
  ClusterOptions options = SmallOptions();
  options.center = "mean";
  const Clustering result = ClusterFeatures(options, rows.view(), {});
  ASSERT_EQ(result.mean.size(), 40u);
  ASSERT_EQ(result.clusters.size(), 3u);
  for (const FeatureCluster& cluster : result.clusters) {
    EXPECT_EQ(cluster.rows.size(), 100u);
    std::vector<float> request(rows.view().row(cluster.rows[0]).begin(),
                               rows.view().row(cluster.rows[0]).end());
    CenterAndNormalize(request, result.mean);
    for (const FeatureCluster& other : result.clusters) {
      EXPECT_LE(Dot(request.data(), other.centroid.data(), 40),
                Dot(request.data(), cluster.centroid.data(), 40));
    }
  }
}

TEST(ClusterFeaturesTest, EqualForAnyNumberOfThreads) {
  const TestRows rows = Lopsided();
  ClusterOptions options = SmallOptions();
  omp_set_num_threads(1);
  const Clustering one = ClusterFeatures(options, rows.view(), {});
  omp_set_num_threads(3);
  const Clustering three = ClusterFeatures(options, rows.view(), {});
  ASSERT_EQ(one.clusters.size(), three.clusters.size());
  for (size_t c = 0; c < one.clusters.size(); ++c) {
    EXPECT_EQ(one.clusters[c].rows, three.clusters[c].rows);
    EXPECT_EQ(one.clusters[c].centroid, three.clusters[c].centroid);
    EXPECT_EQ(one.clusters[c].mean_cosine, three.clusters[c].mean_cosine);
  }
}

TEST(ClusterFeaturesTest, DegenerateRows) {
  TestRows equal{std::vector<float>(50 * 4, 0.5f), 4};
  EXPECT_EQ(ClusterFeatures(SmallOptions(), equal.view(), {}).clusters.size(), 1u);
  ClusterOptions centred = SmallOptions();
  centred.center = "mean";  // every row becomes zero
  EXPECT_EQ(ClusterFeatures(centred, equal.view(), {}).clusters.size(), 1u);
  Example example;
  std::fill_n(example.rows.values.begin() + 5 * 40, 40, 0.0f);
  const Clustering result = ClusterFeatures(SmallOptions(), example.rows.view(), {});
  int64_t total = 0;
  for (const FeatureCluster& cluster : result.clusters) total += static_cast<int64_t>(cluster.rows.size());
  EXPECT_EQ(total, 300);
}

TEST(ClusterFeaturesTest, BadInputIsNamed) {
  Example example;
  const auto message = [&](const ClusterOptions& options, RowMatrix rows,
                           std::span<const std::string> sources) {
    try {
      ClusterFeatures(options, rows, sources);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(
      message(SmallOptions(), example.rows.view().Slice(0, 2), {}).find("2 rows cannot form 3 clusters"),
      std::string::npos);
  EXPECT_NE(message(SmallOptions(), example.rows.view(), std::span(example.sources).first(9))
                .find("9 source names"),
            std::string::npos);
  ClusterOptions options = SmallOptions();
  options.sample_rows = 2;
  EXPECT_NE(message(options, example.rows.view(), {}).find("raise sample_rows"), std::string::npos);
  example.rows.values[250 * 40] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(message(SmallOptions(), example.rows.view(), {}).find("row 250 has NaN"), std::string::npos);
}

TEST(ClustersFileTest, ReadsBackWhatItWrote) {
  const TempDir dir;
  ClusterOptions options = SmallOptions();
  options.center = "mean";
  const Example example;
  const Clustering written = ClusterFeatures(options, example.rows.view(), example.sources);
  WriteClusters(dir.path(), written, options);
  const Clustering read = ReadClusters(dir.path());
  EXPECT_EQ(read.dim, written.dim);
  EXPECT_EQ(read.num_rows, written.num_rows);
  EXPECT_EQ(read.mean, written.mean);
  ASSERT_EQ(read.clusters.size(), written.clusters.size());
  for (size_t c = 0; c < read.clusters.size(); ++c) {
    EXPECT_EQ(read.clusters[c].centroid, written.clusters[c].centroid);
    EXPECT_EQ(read.clusters[c].rows, written.clusters[c].rows);
    EXPECT_EQ(read.clusters[c].sources, written.clusters[c].sources);
    EXPECT_EQ(read.clusters[c].mean_cosine, written.clusters[c].mean_cosine);
    EXPECT_EQ(read.clusters[c].std_cosine, written.clusters[c].std_cosine);
  }
  ASSERT_EQ(read.history.size(), written.history.size());
  EXPECT_EQ(read.history.back().cluster, written.history.back().cluster);
  EXPECT_EQ(read.history.back().size, written.history.back().size);
}

TEST(ClustersFileTest, DamageIsNamed) {
  const TempDir dir;
  const Example example;
  const Clustering clustering = ClusterFeatures(SmallOptions(), example.rows.view(), example.sources);
  WriteClusters(dir.path(), clustering, SmallOptions());
  const fs::path path = dir / kClustersFileName;
  const Json good = ReadJsonFile(path);
  const auto message = [&](const Json& json) -> std::string {
    WriteJsonFile(path, json);
    try {
      ReadClusters(dir.path());
    } catch (const Error& error) {
      EXPECT_TRUE(error.kind() == ErrorKind::kCorrupt || error.kind() == ErrorKind::kInvalidInput) << error.what();
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message(good), "no error");
  Json bad = good;
  bad["format_version"] = 99;
  EXPECT_NE(message(bad).find("format_version is 99"), std::string::npos);
  bad = good;
  bad["clusters"][1]["rows"][0] = bad["clusters"][1]["rows"][1];
  EXPECT_NE(message(bad).find("listed twice"), std::string::npos);
  bad = good;
  bad["clusters"][1]["rows"][0] = -5;
  EXPECT_NE(message(bad).find("out of range"), std::string::npos);
  bad = good;
  bad["num_rows"] = int64_t{1} << 60;
  EXPECT_NE(message(bad).find("clusters list 300 rows"), std::string::npos);
  bad = good;
  bad["clusters"][2].erase("mean_cosine");
  EXPECT_NE(message(bad).find("cluster 2"), std::string::npos);
  bad = good;
  bad["clusters"] = 3;
  EXPECT_NE(message(bad).find("clusters is not a list"), std::string::npos);
  bad = good;
  bad["history"][1]["parent"] = 77;
  EXPECT_NE(message(bad).find("history entry 1"), std::string::npos);
  WriteJsonFile(path, good);
  Clustering other = clustering;
  other.clusters[0].centroid[0] += 1;
  TempDir elsewhere;
  WriteClusters(elsewhere.path(), other, SmallOptions());
  fs::copy_file(elsewhere / kCentroidsFileName, dir / kCentroidsFileName,
                fs::copy_options::overwrite_existing);
  EXPECT_NE(message(good).find("does not belong"), std::string::npos);
  fs::remove(dir / kCentroidsFileName);
  EXPECT_THROW(ReadClusters(dir.path()), Error);
}

}  // namespace
}  // namespace elrea
