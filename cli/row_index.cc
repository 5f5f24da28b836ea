#include "cli/row_index.h"

#include <fmt/format.h>

#include "core/error.h"

namespace elrea {

RowIndex::RowIndex(const RunPaths& paths, const Clustering& clustering)
    : store_(paths.features()), texts_(paths.rows("train")), clustering_(clustering) {
  const int64_t num_rows = texts_.num_rows();
  cluster_of_.assign(static_cast<size_t>(num_rows), -1);
  if (num_rows != store_.num_rows() || num_rows != clustering.num_rows) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: {} rows, {} features, {} rows in clusters; make the run again", paths.root.string(),
                            num_rows, store_.num_rows(), clustering.num_rows));
  }
  for (size_t c = 0; c < clustering.clusters.size(); ++c) {
    for (const int64_t row : clustering.clusters[c].rows) {
      cluster_of_.at(static_cast<size_t>(row)) = static_cast<int64_t>(c);
    }
  }
}

Json RowIndex::Nearest(std::span<const float> feature, int64_t count) const {
  Json nearest = Json::array();
  const RowMatrix all{store_.all().data(), store_.num_rows(), store_.dim()};
  for (const Neighbour& n : NearestRows(all, clustering_.mean, feature, count)) {
    const ExampleRecord record = texts_.Record(n.row);
    nearest.push_back({{"row", n.row},
                       {"cosine", n.cosine},
                       {"cluster", cluster_of_.at(static_cast<size_t>(n.row))},
                       {"source", record.source},
                       {"instruction", record.prompt.back().content}});
  }
  return nearest;
}

}  // namespace elrea
