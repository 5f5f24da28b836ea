// BIRCH on unit rows drawn from ten directions, the shape of gradient features, against scikit-learn on the
// same rows:
//   fit        CF tree, Ward clustering of its leaf entries, labels of the rows it was built from
//   predict    labels of all rows
//   memory     peak resident memory above the rows themselves
// Where ELREA_PEER_PYTHON names an interpreter with scikit-learn, bench/peers/birch_sklearn.py runs on the
// same file in turns with ours, and unequal labels end the program with status 1. Other sizes, ours alone:
//   birch_bench --rows 1000000 --fit-rows 1000000 --dim 512 --threshold 0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <optional>

#include "bench/bench_support.h"
#include "cluster/birch.h"
#include "core/error.h"
#include "core/json.h"
#include "core/rng.h"
#include "core/temp_dir.h"

namespace elrea::bench {
namespace {

struct Case {
  int64_t rows = 20000, fit_rows = 5000, dim = 8192, branching_factor = 50, num_clusters = 5, repeats = 1;
  double threshold = 0.5;
  std::string input, labels_path, peer_script = PeerScript("birch_sklearn.py");
};

struct Result {
  double fit_s = 0, predict_s = 0, memory_mib = 0;
};

void WriteRows(const Case& c, const fs::path& path) {
  constexpr int64_t kDirections = 10;
  std::vector<float> directions(kDirections * c.dim), row(c.dim);
  Rng rng(1);
  for (float& value : directions) value = static_cast<float>(0.4 * rng.Normal());
  AtomicFile file(path);
  for (int64_t i = 0; i < c.rows; ++i) {
    Rng noise(2, static_cast<uint64_t>(i));
    const float* direction = directions.data() + static_cast<int64_t>(noise.Below(kDirections)) * c.dim;
    double squared_norm = 0;
    for (int64_t d = 0; d < c.dim; ++d) {
      row[d] = direction[d] + static_cast<float>(noise.Normal());
      squared_norm += static_cast<double>(row[d]) * row[d];
    }
    for (float& value : row) value = static_cast<float>(value / std::sqrt(squared_norm));
    file.Write(row.data(), row.size() * sizeof(float));
  }
  file.Commit();
}

Result RunOurs(const Case& c, RowMatrix rows, std::vector<int64_t>& labels) {
  Result result;
  ResetPeakMemory();
  const double before = StatusMib("VmRSS:"), start = NowSeconds();
  const BirchOptions options{
      .num_clusters = c.num_clusters, .threshold = c.threshold, .branching_factor = c.branching_factor};
  const BirchModel model = FitBirch(options, rows.Slice(0, c.fit_rows));
  PredictBirch(model, rows.Slice(0, c.fit_rows));
  const double fitted = NowSeconds();
  labels = PredictBirch(model, rows);
  result.fit_s = fitted - start;
  result.predict_s = NowSeconds() - fitted;
  result.memory_mib = StatusMib("VmHWM:") - before;
  fmt::print(stderr, "ours: threshold {:.4g}, {} subclusters, fit {:.2f} s, predict {:.2f} s, {:.0f} MiB\n",
             model.threshold, model.center_rows().rows, result.fit_s, result.predict_s, result.memory_mib);
  return result;
}

// Runs scikit-learn on the rows of the file and checks its labels against ours.
Result RunSklearn(const std::string& python, const Case& c, const fs::path& input, const std::vector<int64_t>& labels) {
  const TempDir folder;
  const std::string arguments = fmt::format(
      "--rows '{}' --dim {} --fit-rows {} --threshold {} --branching-factor {} --clusters {}", input.string(), c.dim,
      c.fit_rows, c.threshold, c.branching_factor, c.num_clusters);
  const Json peer = RunPeer(python, c.peer_script, arguments, folder.path());
  if (peer["labels"].get<std::vector<int64_t>>() != labels) {
    throw Error(ErrorKind::kInternal, "labels differ from scikit-learn's");
  }
  return {peer["fit_s"], peer["predict_s"], peer["memory_mib"]};
}

Json RunCase(const Case& c) {
  const TempDir folder;
  const fs::path input = c.input.empty() ? folder / "rows.f32" : fs::path(c.input);
  if (c.input.empty()) WriteRows(c, input);
  const std::optional<std::string> python = PeerPython();
  Result ours{INFINITY, INFINITY, INFINITY}, peers{INFINITY, INFINITY, INFINITY};
  const auto keep_best = [](Result& best, const Result& run) {
    best = {std::min(best.fit_s, run.fit_s), std::min(best.predict_s, run.predict_s),
            std::min(best.memory_mib, run.memory_mib)};
  };
  for (int64_t i = 0; i < c.repeats; ++i) {
    std::vector<int64_t> labels;
    {
      const MappedFile file(input);
      if (file.bytes().size() != static_cast<size_t>(c.rows * c.dim) * sizeof(float)) {
        throw Error(ErrorKind::kInvalidInput,
                    fmt::format("{} is not {} x {} floats", input.string(), c.rows, c.dim));
      }
      Checksum(file.bytes());  // the rows are in memory before anything is measured
      keep_best(ours,
                RunOurs(c, {reinterpret_cast<const float*>(file.bytes().data()), c.rows, c.dim}, labels));
    }
    if (!c.labels_path.empty()) WriteFileAtomically(c.labels_path, JsonLine(Json(labels)));
    if (python) keep_best(peers, RunSklearn(*python, c, input, labels));
  }
  const auto peer = [&](double value) {
    return python ? std::optional<Peer>({"scikit-learn Birch", value}) : std::nullopt;
  };
  const std::string size = fmt::format("x {}, threshold {}", c.dim, c.threshold);
  return {Measurement(fmt::format("BIRCH fit {} {}", c.fit_rows, size), "s", ours.fit_s, peer(peers.fit_s)),
          Measurement(fmt::format("BIRCH predict {} {}", c.rows, size), "s", ours.predict_s,
                      peer(peers.predict_s)),
          Measurement(fmt::format("BIRCH memory above the rows, {} {}", c.rows, size), "MiB", ours.memory_mib,
                      peer(peers.memory_mib))};
}

int Main(int argc, char** argv) {
  CLI::App app("BIRCH against scikit-learn");
  Case c;
  std::string json_path;
  app.add_option("--json", json_path, "file the measurements are written to");
  app.add_option("--rows", c.rows, "rows to label");
  app.add_option("--fit-rows", c.fit_rows, "of these, rows the tree is built from");
  app.add_option("--dim", c.dim, "values per row");
  app.add_option("--threshold", c.threshold, "0 finds it");
  app.add_option("--branching-factor", c.branching_factor, "entries per node");
  app.add_option("--clusters", c.num_clusters, "clusters");
  app.add_option("--input", c.input, "raw floats [rows, dim] in place of generated rows");
  app.add_option("--labels", c.labels_path, "file our labels are written to");
  app.add_option("--peer-script", c.peer_script, "scikit-learn's side");
  app.add_option("--repeats", c.repeats, "runs of each side, in turns; the best counts");
  CLI11_PARSE(app, argc, argv);
  return RunGuarded([&] {
    WriteMeasurements(json_path, RunCase(c));
    return 0;
  });
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) { return elrea::bench::Main(argc, argv); }
