#include "cluster/clusters_file.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/options.h"
#include "core/safetensors.h"

namespace elrea {
namespace {

constexpr int64_t kFormatVersion = 1;

std::span<const std::byte> BytesOf(const std::vector<float>& values) {
  return std::as_bytes(std::span(values));
}

void WriteCentroids(const fs::path& path, const Clustering& clustering) {
  std::vector<float> centroids;
  for (const FeatureCluster& cluster : clustering.clusters) {
    centroids.insert(centroids.end(), cluster.centroid.begin(), cluster.centroid.end());
  }
  const int64_t num_clusters = static_cast<int64_t>(clustering.clusters.size());
  std::vector<NamedTensor> tensors = {
      {"centroids", DType::kF32, {num_clusters, clustering.dim}, BytesOf(centroids)}};
  if (!clustering.mean.empty()) {
    tensors.push_back({"mean", DType::kF32, {clustering.dim}, BytesOf(clustering.mean)});
  }
  WriteSafetensors(path, tensors, {{"elrea.format_version", std::to_string(kFormatVersion)}});
}

Json ClusterToJson(int64_t id, const FeatureCluster& cluster) {
  Json sources = Json::object();
  for (const auto& [name, count] : cluster.sources) sources[name] = count;
  return {{"id", id},
          {"size", cluster.rows.size()},
          {"mean_cosine", cluster.mean_cosine},
          {"std_cosine", cluster.std_cosine},
          {"sources", sources},
          {"rows", cluster.rows}};
}

[[noreturn]] void ThrowCorrupt(const std::string& origin, const std::string& what) {
  throw Error(ErrorKind::kCorrupt, fmt::format("{}: {}; run the cluster stage again", origin, what));
}

std::vector<float> ReadTensor(const SafetensorsFile& file, const std::string& name,
                              std::vector<int64_t> shape) {
  const TensorView& tensor = file.Get(name);
  if (tensor.dtype != DType::kF32 || tensor.shape != shape) {
    ThrowCorrupt(file.path().string(),
                 fmt::format("tensor {} is not F32 of shape [{}]", name, fmt::join(shape, ", ")));
  }
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

FeatureCluster ClusterFromJson(const Json& json, int64_t id, const std::string& origin) {
  FeatureCluster cluster;
  const std::string where = fmt::format("{}: cluster {}", origin, id);
  cluster.rows = JsonField<std::vector<int64_t>>(json, "rows", where);
  cluster.mean_cosine = JsonField<double>(json, "mean_cosine", where);
  cluster.std_cosine = JsonField<double>(json, "std_cosine", where);
  if (JsonField<int64_t>(json, "id", where) != id) ThrowCorrupt(where, "id is out of order");
  if (JsonField<int64_t>(json, "size", where) != static_cast<int64_t>(cluster.rows.size())) {
    ThrowCorrupt(where, "size does not match its rows");
  }
  const Json& sources = JsonField<Json>(json, "sources", where);
  for (const auto& [name, count] : sources.items()) {
    cluster.sources[name] = JsonField<int64_t>(sources, name.c_str(), where);
  }
  return cluster;
}

// Every row in exactly one cluster.
void CheckPartition(const Clustering& clustering, const std::string& origin) {
  int64_t total = 0;
  for (const FeatureCluster& cluster : clustering.clusters)
    total += static_cast<int64_t>(cluster.rows.size());
  if (total != clustering.num_rows) {
    ThrowCorrupt(origin, fmt::format("clusters list {} rows, num_rows is {}", total, clustering.num_rows));
  }
  std::vector<bool> seen(clustering.num_rows, false);
  for (size_t id = 0; id < clustering.clusters.size(); ++id) {
    for (int64_t row : clustering.clusters[id].rows) {
      if (row < 0 || row >= clustering.num_rows || seen[row]) {
        ThrowCorrupt(origin,
                     fmt::format("cluster {} lists row {}, which is out of range or listed twice", id, row));
      }
      seen[row] = true;
    }
  }
}

void ReadHistory(const Json& json, const std::string& origin, Clustering& clustering) {
  const Json& history = JsonField<Json>(json, "history", origin);
  if (!history.is_array()) ThrowCorrupt(origin, "history is not a list");
  for (const Json& node : history) {
    const std::string where = fmt::format("{}: history entry {}", origin, clustering.history.size());
    clustering.history.push_back(
        {JsonField<int64_t>(node, "parent", where), JsonField<int64_t>(node, "round", where),
         JsonField<int64_t>(node, "size", where), JsonField<int64_t>(node, "cluster", where)});
    const ClusterNode& last = clustering.history.back();
    if (last.parent >= static_cast<int64_t>(clustering.history.size()) - 1 ||
        last.cluster >= static_cast<int64_t>(clustering.clusters.size())) {
      ThrowCorrupt(where, "names a parent or cluster that does not exist");
    }
  }
}

}  // namespace

void WriteClusters(const fs::path& directory, const Clustering& clustering, const ClusterOptions& options) {
  WriteCentroids(directory / kCentroidsFileName, clustering);
  ClusterOptions copy = options;
  Json json = {{"format_version", kFormatVersion},
               {"dim", clustering.dim},
               {"num_rows", clustering.num_rows},
               {"options", OptionSet(copy).ToJson()},
               {"clusters", Json::array()},
               {"history", Json::array()},
               {"centroids_checksum", FileChecksumHex(directory / kCentroidsFileName)}};
  for (size_t id = 0; id < clustering.clusters.size(); ++id) {
    json["clusters"].push_back(ClusterToJson(static_cast<int64_t>(id), clustering.clusters[id]));
  }
  for (const ClusterNode& node : clustering.history) {
    json["history"].push_back(
        {{"parent", node.parent}, {"round", node.round}, {"size", node.size}, {"cluster", node.cluster}});
  }
  WriteFileAtomically(directory / kClustersFileName, JsonLine(json) + "\n");
}

Clustering ReadClusters(const fs::path& directory) {
  const fs::path path = directory / kClustersFileName;
  const std::string origin = path.string();
  const Json json = ReadVersionedJson(path, kFormatVersion);
  Clustering clustering;
  clustering.dim = JsonField<int64_t>(json, "dim", origin);
  clustering.num_rows = JsonField<int64_t>(json, "num_rows", origin);
  const fs::path centroids_path = directory / kCentroidsFileName;
  if (FileChecksumHex(centroids_path) != JsonField<std::string>(json, "centroids_checksum", origin)) {
    ThrowCorrupt(centroids_path.string(), fmt::format("does not belong to {}", origin));
  }
  const Json& clusters = JsonField<Json>(json, "clusters", origin);
  if (!clusters.is_array()) ThrowCorrupt(origin, "clusters is not a list");
  for (const Json& cluster : clusters) {
    clustering.clusters.push_back(
        ClusterFromJson(cluster, static_cast<int64_t>(clustering.clusters.size()), origin));
  }
  ReadHistory(json, origin, clustering);
  CheckPartition(clustering, origin);
  const SafetensorsFile file(centroids_path);
  const int64_t num_clusters = static_cast<int64_t>(clustering.clusters.size());
  const std::vector<float> centroids = ReadTensor(file, "centroids", {num_clusters, clustering.dim});
  for (int64_t id = 0; id < num_clusters; ++id) {
    const auto begin = centroids.begin() + id * clustering.dim;
    clustering.clusters[id].centroid.assign(begin, begin + clustering.dim);
  }
  if (file.Contains("mean")) clustering.mean = ReadTensor(file, "mean", {clustering.dim});
  return clustering;
}

}  // namespace elrea
