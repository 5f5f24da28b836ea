// Experts side by side against a base run: what the mixing of clusters in a pass costs.
//   seconds    of one epoch of FinetuneSideBySide over rows dealt to K experts, and, in turns, of one epoch of Finetune over
//              all the same rows with the same batch size, both without saving; the ratio's goal is at most 1.1
//   apart      the same experts one after the other
//   memory     peak resident, ours and the base run's
// Two cases: batches of word problems that nearly fill a pass, and short rows in small batches, which leave it mostly empty.
// Ends with status 1 when an adapter differs from the one a separate run gives by more than 1e-3, relative.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "bench/bench_support.h"
#include "cli/backbone.h"
#include "core/temp_dir.h"
#include "train/finetune.h"

namespace elrea::bench {
namespace {

struct Case : ModelCase {
  int64_t experts = 4, steps = 3, turns = 3, rank = 8;
  bool check = true;
};

struct Shape {
  const char* name;
  int64_t batch_size, max_row_tokens;  // 0: whole rows
};
constexpr Shape kShapes[] = {{"word problems, batch 8", 8, 0}, {"rows of 55 tokens, batch 2", 2, 55}};

FinetuneOptions Options(const Shape& shape) {
  FinetuneOptions options;
  options.epochs = 1;
  options.batch_size = shape.batch_size;
  options.checkpoint_every_s = 1e9;
  return options;
}

// Rows as the shape has them: cut to a length, half of it prompt.
std::vector<TokenRow> ShapedRows(const Shape& shape, std::vector<TokenRow> rows) {
  if (shape.max_row_tokens == 0) return rows;
  for (TokenRow& row : rows) {
    const size_t kept = std::min<size_t>(row.tokens.size(), static_cast<size_t>(shape.max_row_tokens));
    row.tokens = std::vector<int32_t>(row.tokens.begin(), row.tokens.begin() + kept);
    row.num_prompt = std::min<int64_t>(row.num_prompt, static_cast<int64_t>(row.tokens.size()) / 2);
  }
  return rows;
}

struct Turn {
  double seconds = 0, peak_mib = 0;
  std::vector<FinetuneResult> results;
};

class Bench {
 public:
  Bench(const Case& c, const Shape& shape, const Decoder& decoder, std::vector<TokenRow> rows)
      : c_(c), shape_(shape), decoder_(decoder), rows_(ShapedRows(shape, std::move(rows))) {}

  Turn Base() const {
    const TempDir folder;
    FinetuneJob job = Job("base", folder / "base");
    for (const TokenRow& row : rows_) job.rows.push_back(&row);
    return Timed([&] { return std::vector{Finetune(job, Options(shape_))}; });
  }

  // Row i belongs to expert i mod K.
  Turn Experts(int64_t side_by_side) const {
    const TempDir folder;
    std::vector<Finetuning> experts;
    for (int64_t e = 0; e < c_.experts; ++e) {
      experts.push_back({Job(fmt::format("expert {}", e), folder / std::to_string(e)), Options(shape_)});
      experts.back().options.seed = e;
      for (size_t i = e; i < rows_.size(); i += c_.experts) experts.back().job.rows.push_back(&rows_[i]);
    }
    return Timed([&] { return FinetuneSideBySide(experts, {"experts", folder.path(), side_by_side}); });
  }

 private:
  FinetuneJob Job(const std::string& label, const fs::path& directory) const {
    return {label, &decoder_, MakeAdapter(decoder_.config(), ConfigOfRank(c_.rank), 1), {}, {}, directory};
  }

  // The seconds of training alone, as the results count them: files are left out on both sides.
  template <typename Work>
  Turn Timed(Work work) const {
    ResetPeakMemory();
    Turn turn;
    turn.results = work();
    for (const FinetuneResult& result : turn.results) turn.seconds += result.seconds;
    turn.peak_mib = StatusMib("VmHWM:");
    return turn;
  }

  const Case& c_;
  const Shape& shape_;
  const Decoder& decoder_;
  std::vector<TokenRow> rows_;
};

// The largest distance between the adapters of two ways, relative to their norms.
double Distance(const Turn& a, const Turn& b) {
  double worst = 0;
  for (size_t i = 0; i < a.results.size(); ++i) {
    const torch::Tensor &x = a.results[i].adapter.params, &y = b.results[i].adapter.params;
    worst = std::max(worst, ((x - y).norm() / y.norm()).item<double>());
  }
  return worst;
}

// Appends the measurements of one shape; false when the adapters differ.
bool Measure(const Case& c, const Shape& shape, const Decoder& decoder, const std::vector<TokenRow>& rows,
             Json& measurements) {
  const Bench bench(c, shape, decoder, rows);
  std::vector<double> together_s, base_s, apart_s, ratios;
  double together_mib = 0, base_mib = 0, distance = 0;
  for (int64_t turn = 0; turn <= c.turns; ++turn) {
    const Turn base = bench.Base(), together = bench.Experts(c.experts);
    const Turn apart = bench.Experts(1);
    distance = std::max(distance, Distance(together, apart));
    if (turn == 0) continue;  // warms up
    together_s.push_back(together.seconds);
    base_s.push_back(base.seconds);
    apart_s.push_back(apart.seconds);
    ratios.push_back(together.seconds / base.seconds);
    together_mib = std::max(together_mib, together.peak_mib);
    base_mib = std::max(base_mib, base.peak_mib);
    fmt::print(stderr, "{}: side by side {:.2f} s, base {:.2f} s, apart {:.2f} s\n", shape.name, together.seconds,
               base.seconds, apart.seconds);
  }
  fmt::print(stderr, "{}: adapters differ from separate runs' by {:.2g}; ratio {:.3f}\n", shape.name, distance,
             Median(ratios));
  const std::string what = fmt::format("{} experts side by side, {}", c.experts, shape.name);
  measurements.push_back(Measurement(what, "s", Median(together_s), Peer{"a base run of the same rows", Median(base_s)}));
  measurements.push_back(Measurement(what, "s", Median(together_s), Peer{"one after the other", Median(apart_s)}));
  measurements.push_back(Measurement(what + ", peak memory", "MiB", together_mib, Peer{"a base run", base_mib}));
  return !c.check || distance <= 1e-3;
}

int Run(const Case& c) {
  const Backbone backbone = LoadBackbone({c.model, c.dtype}, "auto");
  Json measurements = Json::array();
  bool agree = true;
  for (const Shape& shape : kShapes) {
    const int64_t count = c.experts * c.steps * shape.batch_size;
    agree &= Measure(c, shape, *backbone.decoder, LoadRows("", count, *backbone.tokenizer, *backbone.chat), measurements);
  }
  WriteMeasurements(c.json_path, measurements);
  return agree ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("experts side by side against a base run of the same rows");
  Case c;
  AddModelOptions(app, c);
  app.add_option("--experts", c.experts, "K")->check(CLI::Range(1, 64));
  app.add_option("--steps", c.steps, "steps of each expert in a turn")->check(CLI::Range(1, 1000));
  app.add_option("--turns", c.turns, "runs of each way, after one that warms up")->check(CLI::Range(1, 1000));
  app.add_option("--rank", c.rank, "of the adapters")->check(CLI::Range(1, 1024));
  app.add_flag("!--no-check", c.check, "leave out the comparison with separate runs");
  CLI11_PARSE(app, argc, argv);
  return RunGuarded([&] { return Run(c); });
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) { return elrea::bench::Main(argc, argv); }
