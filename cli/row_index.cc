#include "cli/row_index.h"

#include <fmt/format.h>

#include "core/error.h"
#include "data/records.h"

namespace elrea {

RowIndex::RowIndex(const RunPaths& paths, const Clustering& clustering)
    : store_(paths.features()), clustering_(clustering) {
  const std::string file = paths.rows("train").string();
  ForEachRow(file, [&](int64_t number, std::string_view text) {
    auto parsed = ParseExampleRow(text, file, number);
    const auto* record = std::get_if<ExampleRecord>(&parsed);
    rows_.push_back(record == nullptr ? Row{} : Row{record->source, record->prompt.back().content});
  });
  const auto num_rows = static_cast<int64_t>(rows_.size());
  if (num_rows != store_.num_rows() || num_rows != clustering.num_rows) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: {} rows, {} features, {} rows in clusters; make the run again", paths.root.string(),
                            num_rows, store_.num_rows(), clustering.num_rows));
  }
  for (size_t c = 0; c < clustering.clusters.size(); ++c) {
    for (const int64_t row : clustering.clusters[c].rows) {
      rows_.at(static_cast<size_t>(row)).cluster = static_cast<int64_t>(c);
    }
  }
}

Json RowIndex::Nearest(std::span<const float> feature, int64_t count) const {
  Json nearest = Json::array();
  const RowMatrix all{store_.all().data(), store_.num_rows(), store_.dim()};
  for (const Neighbour& n : NearestRows(all, clustering_.mean, feature, count)) {
    const Row& row = rows_.at(static_cast<size_t>(n.row));
    nearest.push_back({{"row", n.row},
                       {"cosine", n.cosine},
                       {"cluster", row.cluster},
                       {"source", row.source},
                       {"instruction", row.instruction}});
  }
  return nearest;
}

}  // namespace elrea
