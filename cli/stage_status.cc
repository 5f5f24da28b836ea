#include "cli/stage_status.h"

#include "cluster/clusters_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "features/feature_store.h"

namespace elrea {
namespace {

std::string Command(const RunPaths& paths, const char* verb) {
  return fmt::format("elrea {} --run {}", verb, paths.root.string());
}

StageStatus DataStatus(const RunPaths& paths) {
  StageStatus status{"data", StageState::kMissing, "", Command(paths, "data prepare")};
  if (!fs::exists(paths.ledger())) return status;
  const Json manifest = ReadVersionedJson(paths.ledger());
  std::vector<std::string> parts;
  for (const char* split : {"train", "validation", "test"}) {
    if (!manifest.contains(split)) continue;
    const Json ledger = JsonField<Json>(manifest[split], "ledger", paths.ledger().string());
    const auto kept = JsonField<int64_t>(ledger, "kept", paths.ledger().string());
    parts.push_back(fmt::format("{} {}", FormatCount(kept), split));
  }
  status.state = StageState::kDone;
  status.detail = Join(parts, ", ") + " rows";
  return status;
}

// The state of one fine-tuning directory, and its result once there is one.
StageState FinetuneState(const fs::path& directory, Json* result) {
  const fs::path path = directory / "finetune.json";
  if (!fs::exists(path)) return StageState::kMissing;
  *result = JsonFieldOr<Json>(ReadJsonFile(path), "result", Json(), path.string());
  return result->is_null() ? StageState::kUnderWay : StageState::kDone;
}

StageStatus BaseStatus(const RunPaths& paths) {
  StageStatus status{"base", StageState::kMissing, "", Command(paths, "train")};
  Json result;
  status.state = FinetuneState(paths.base(), &result);
  if (status.state == StageState::kDone) {
    const std::string origin = paths.base().string();
    status.detail = fmt::format("{} steps, training loss {:.4f}", JsonField<int64_t>(result, "steps", origin),
                                JsonField<double>(result, "final_loss", origin));
    const auto validation = JsonField<double>(result, "validation_loss", origin);
    if (validation >= 0) status.detail += fmt::format(", validation loss {:.4f}", validation);
  }
  return status;
}

StageStatus FeaturesStatus(const RunPaths& paths) {
  StageStatus status{"features", StageState::kMissing, "", Command(paths, "features")};
  if (fs::exists(paths.features() / kFeaturesFileName)) {
    const FeatureStore store(paths.features());
    status.state = StageState::kDone;
    status.detail =
        fmt::format("{} rows of {} numbers", FormatCount(store.num_rows()), FormatCount(store.dim()));
  } else if (fs::exists(paths.features())) {
    status.state = StageState::kUnderWay;
  }
  return status;
}

StageStatus ClustersStatus(const RunPaths& paths) {
  StageStatus status{"clusters", StageState::kMissing, "", Command(paths, "cluster")};
  if (!fs::exists(paths.clusters() / kClustersFileName)) return status;
  std::vector<std::string> sizes;
  for (const FeatureCluster& c : ReadClusters(paths.clusters()).clusters)
    sizes.push_back(FormatCount(c.rows.size()));
  status.state = StageState::kDone;
  status.detail = fmt::format("{} clusters of {} rows", sizes.size(), Join(sizes, ", "));
  return status;
}

StageStatus ExpertsStatus(const RunPaths& paths) {
  StageStatus status{"experts", StageState::kMissing, "", Command(paths, "experts")};
  if (!fs::exists(paths.clusters() / kClustersFileName)) return status;
  const auto total = static_cast<int64_t>(ReadClusters(paths.clusters()).clusters.size());
  int64_t done = 0, begun = 0;
  Json result;
  for (int64_t c = 0; c < total; ++c) {
    const StageState state = FinetuneState(paths.expert(c), &result);
    done += state == StageState::kDone;
    begun += state != StageState::kMissing;
  }
  status.state = done == total ? StageState::kDone : begun > 0 ? StageState::kUnderWay : StageState::kMissing;
  status.detail = fmt::format("{} of {}", done, total);
  return status;
}

StageStatus EvalStatus(const RunPaths& paths) {
  StageStatus status{"eval", StageState::kMissing, "", Command(paths, "eval")};
  if (fs::exists(paths.eval() / "eval.json")) status.state = StageState::kUnderWay;
  const fs::path report = paths.eval() / "report.json";
  if (!fs::exists(report)) return status;
  status.state = StageState::kDone;
  std::vector<std::string> parts;
  const Json methods = JsonField<Json>(ReadJsonFile(report), "methods", report.string());
  for (const auto& [name, score] : methods.items()) {
    const Json micro = JsonField<Json>(score, "micro", report.string());
    parts.push_back(
        fmt::format("{} {:.1f}%", name, 100 * JsonField<double>(micro, "exact_match", report.string())));
  }
  status.detail = Join(parts, ", ");
  return status;
}

struct Stage {
  const char* name;
  StageStatus (*status_of)(const RunPaths& paths);
};
constexpr Stage kStages[] = {{"data", DataStatus},         {"base", BaseStatus},
                             {"features", FeaturesStatus}, {"clusters", ClustersStatus},
                             {"experts", ExpertsStatus},   {"eval", EvalStatus}};

}  // namespace

const char* StageStateName(StageState state) {
  switch (state) {
    case StageState::kMissing:
      return "missing";
    case StageState::kUnderWay:
      return "under way";
    case StageState::kDone:
      return "done";
  }
  return "";
}

std::vector<StageStatus> InspectRun(const RunPaths& paths) {
  std::vector<StageStatus> stages;
  for (const auto& [name, status_of] : kStages) stages.push_back(status_of(paths));
  return stages;
}

void RequireStage(const RunPaths& paths, const std::string& name) {
  for (const auto& [stage, status_of] : kStages) {
    if (name != stage) continue;
    const StageStatus status = status_of(paths);
    if (status.state == StageState::kDone) continue;
    throw Error(ErrorKind::kNotFound,
                fmt::format("{}: the stage '{}' is {}; run `{}` first", paths.root.string(), name,
                            StageStateName(status.state), status.command));
  }
}

}  // namespace elrea
