#include "study/html_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/text.h"
#include "ensemble/ensemble.h"
#include "study/cluster_stability.h"
#include "study/svg.h"
#include "study/tsne.h"

namespace elrea {
namespace {

constexpr int64_t kBootstraps = 20;
constexpr int64_t kExamples = 6;
constexpr int64_t kNeighbours = 3;

constexpr const char* kStyle = R"(
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1240px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
p, li { max-width: 75ch; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12px; } th, td { padding: .2rem .4rem; text-align: right; white-space: nowrap; }
th { white-space: normal; border-bottom: 2px solid #999; vertical-align: bottom; } td { border-bottom: 1px solid #eee; }
th:first-child, td:first-child, .left { text-align: left; } .text td { white-space: normal; text-align: left; vertical-align: top; }
.better { color: #1d7a3c; } .worse { color: #b03030; } .quiet { color: #777; }
svg { width: 100%; height: auto; display: block; margin: .6rem 0; } svg text { font: 12px system-ui, sans-serif; fill: #222; }
svg text.axis { fill: #666; } .pair { display: flex; flex-wrap: wrap; gap: 1.5rem; } .pair > div { flex: 1 1 380px; }
pre { background: #f6f6f4; padding: .8rem; font-size: 12px; white-space: pre-wrap; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2, figure, svg, tr { break-inside: avoid; } table { font-size: 9px; } })";

std::string Cell(const std::string& text, const char* classes = "") {
  return *classes == '\0' ? "<td>" + EscapeHtml(text) + "</td>"
                          : fmt::format("<td class=\"{}\">{}</td>", classes, EscapeHtml(text));
}

std::string HeaderRow(const std::vector<std::string>& names) {
  std::string row = "<tr>";
  for (const std::string& name : names) row += "<th>" + EscapeHtml(name) + "</th>";
  return row + "</tr>\n";
}

std::string Section(const std::string& title, const std::string& body) {
  return "<h2>" + EscapeHtml(title) + "</h2>\n" + body;
}

std::string Paragraph(const std::string& text) { return "<p>" + EscapeHtml(text) + "</p>\n"; }

// The figure, or why there is none.
template <typename Make>
std::string OrReason(Make make) {
  try {
    return make();
  } catch (const std::exception& error) {
    const std::string what = error.what();
    return Paragraph("not shown: " + what.substr(0, what.find('\n')));
  }
}

std::string Points(const std::optional<Estimate>& e) {
  if (!e) return "-";
  return fmt::format("{:.1f} [{:.1f}, {:.1f}]", 100 * e->mean, 100 * e->interval.low, 100 * e->interval.high);
}

// A difference, coloured when its interval excludes zero. `sign`: 1 where more is better.
std::string DifferenceCell(const std::optional<PairedDifference>& d, double factor, int digits, int sign) {
  if (!d) return Cell("");
  const Interval& i = d->value.interval;
  const char* classes = sign * i.low > 0 && sign * i.high > 0 ? "better" : i.low * i.high > 0 ? "worse" : "";
  return Cell(fmt::format("{:+.{}f} [{:+.{}f}, {:+.{}f}] p={:.3f}", factor * d->value.mean, digits, factor * i.low,
                          digits, factor * i.high, digits, d->p),
              classes);
}

std::string ResultsTable(const std::vector<MethodSummary>& summaries) {
  std::string html = "<div class=\"wide\"><table>\n" +
                     HeaderRow({"method", "seeds", "n", "macro exact match, %", "minus base, points",
                                "relative gain", "micro, %", "strict, %", "response loss, nats/token",
                                "minus base", "train s", "decode s", "peak memory"});
  for (const MethodSummary& s : summaries) {
    if (s.seeds.empty()) {
      html += "<tr>" + Cell(s.name) +
              fmt::format("<td colspan=\"12\" class=\"left worse\">failed: {}</td></tr>\n",
                          EscapeHtml(s.failure));
      continue;
    }
    const bool answered = s.num_answered > 0;
    html += "<tr>" + Cell(s.name) + Cell(std::to_string(s.seeds.size())) + Cell(FormatCount(s.num_answered)) +
            Cell(Points(s.macro)) + DifferenceCell(s.macro_gain, 100, 1, 1) +
            Cell(s.micro_gain ? fmt::format("{:+.1f}%", 100 * s.relative_gain) : "") +
            Cell(answered ? fmt::format("{:.1f}", 100 * s.micro->mean) : "-") +
            Cell(answered ? fmt::format("{:.1f}", 100 * s.strict) : "-") +
            Cell(s.loss ? fmt::format("{:.4f} (n={})", s.loss->mean, s.num_losses) : "-") +
            DifferenceCell(s.loss_change, 1, 4, -1) + Cell(fmt::format("{:.0f}", s.train_s)) +
            Cell(answered ? fmt::format("{:.0f}", s.decode_s) : "-") +
            Cell(answered ? FormatBytes(s.peak_bytes) : "-") + "</tr>\n";
  }
  html += "</table></div>\n<ul>\n";
  for (const MethodSummary& s : summaries) {
    html += fmt::format("<li><b>{}</b> ({}): {}</li>\n", EscapeHtml(s.name), EscapeHtml(s.origin),
                        EscapeHtml(s.help));
  }
  return html + "</ul>\n";
}

std::string SourceTable(const std::vector<MethodSummary>& summaries) {
  std::string html;
  for (const MethodSummary& s : summaries) {
    if (s.num_answered == 0) continue;
    if (html.empty()) {
      std::vector<std::string> names = {"method"};
      for (const auto& [source, value] : s.by_source) names.push_back(source);
      html = "<div class=\"wide\"><table>\n" + HeaderRow(names);
    }
    html += "<tr>" + Cell(s.name);
    for (const auto& [source, value] : s.by_source) html += Cell(Points(value));
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string Forests(const std::vector<MethodSummary>& summaries) {
  std::vector<ForestRow> loss, match;
  for (const MethodSummary& s : summaries) {
    // The backbone is so far away that the others would be one point.
    if (s.name == "base" || s.name == "backbone") continue;
    if (s.loss_change) loss.push_back({s.name, s.loss_change->value});
    if (s.macro_gain) match.push_back({s.name, s.macro_gain->value});
  }
  return ForestPlot(loss, "response loss minus the base adapter's, nats per token (left is better)", 1, 4) +
         ForestPlot(match, "macro exact match minus the base adapter's, points (right is better)", 100, 1);
}

// Curves of the ablations that were run: (number, response loss).
std::string Curves(const std::vector<MethodSummary>& summaries, size_t num_clusters) {
  const auto loss_of = [&](const std::string& name) -> std::optional<double> {
    for (const MethodSummary& s : summaries) {
      if (s.name == name && s.loss) return s.loss->mean;
    }
    return std::nullopt;
  };
  std::string html;
  const auto chart = [&](const char* axis, const std::vector<std::pair<double, std::string>>& steps) {
    Series series{axis, {}};
    for (const auto& [x, name] : steps) {
      if (const auto loss = loss_of(name)) series.points.push_back({x, *loss});
    }
    std::sort(series.points.begin(), series.points.end());
    if (series.points.size() > 1)
      html += "<div>" + LineChart({series}, axis, "response loss, nats/token") + "</div>";
  };
  chart("experts that answer (top k)", {{1, "top_1"},
                                        {2, "top_2"},
                                        {4, num_clusters > 4 ? "top_4" : ""},
                                        {static_cast<double>(num_clusters), "ensemble"}});
  chart("log2 of the feature's length", {{9, "d_proj_512"},
                                         {10, "d_proj_1024"},
                                         {11, "d_proj_2048"},
                                         {12, "d_proj_4096"},
                                         {13, "d_proj_8192"}});
  return html.empty() ? Paragraph("No ablation with a curve was run.")
                      : "<div class=\"pair\">" + html + "</div>\n";
}

std::vector<std::string> ClusterNames(const Clustering& clustering) {
  std::vector<std::string> names;
  for (size_t c = 0; c < clustering.clusters.size(); ++c) {
    names.push_back(fmt::format("cluster {} ({} rows)", c, clustering.clusters[c].rows.size()));
  }
  return names;
}

std::string ClusterHeatMap(const Clustering& clustering, const std::vector<std::string>& sources) {
  std::vector<std::vector<double>> counts;
  for (const FeatureCluster& cluster : clustering.clusters) {
    std::vector<double>& row = counts.emplace_back();
    for (const std::string& source : sources) {
      const auto found = cluster.sources.find(source);
      row.push_back(found == cluster.sources.end() ? 0 : static_cast<double>(found->second));
    }
  }
  return HeatMap(ClusterNames(clustering), sources, counts, 0);
}

std::string StabilityText(Workbench& bench, const StudyFeatures& features, const Clustering& clustering) {
  const RowMatrix rows{features.train->all().data(), features.train->num_rows(), features.train->dim()};
  std::vector<int64_t> sources;
  for (const TokenRow& row : bench.job().train.rows) sources.push_back(row.source_id);
  const Stability s = MeasureStability(bench.job().cluster, rows, clustering, kBootstraps, 0);
  return Paragraph(fmt::format(
      "Adjusted Rand index of the clusters against the data sets: {:.3f}. Stability: clusters of {} "
      "bootstrap samples of the "
      "rows agree with these at an adjusted Rand index of {:.3f} on average (smallest {:.3f}, largest "
      "{:.3f}).",
      AdjustedRandIndex(RowLabels(clustering), sources), kBootstraps, s.mean, s.range.low, s.range.high));
}

std::string FeatureMaps(Workbench& bench, const StudyFeatures& features, const Clustering& clustering) {
  const StudyJob& job = bench.job();
  const int64_t n = std::min<int64_t>(features.train->num_rows(), 1500);
  std::vector<size_t> sources, clusters;
  const std::vector<int64_t> labels = RowLabels(clustering);
  for (int64_t i = 0; i < n; ++i) {
    sources.push_back(static_cast<size_t>(job.train.rows[static_cast<size_t>(i)].source_id));
    clusters.push_back(static_cast<size_t>(labels[static_cast<size_t>(i)]));
  }
  const auto map = Tsne({features.train->all().data(), n, features.train->dim()});
  std::vector<std::string> names;
  for (size_t c = 0; c < clustering.clusters.size(); ++c) names.push_back(fmt::format("cluster {}", c));
  return "<div class=\"pair\"><div>by data set" + ScatterPlot(map, sources, job.train.sources) +
         "</div><div>by cluster" + ScatterPlot(map, clusters, names) + "</div></div>\n";
}

std::string Weights(const MethodRecord& record, const StudyJob& job) {
  std::map<std::string, std::vector<double>> sums;
  const auto& weights = record.outcomes.begin()->second.weights;
  for (size_t i = 0; i < weights.size(); ++i) {
    std::vector<double>& sum = sums[job.test[i].source];
    sum.resize(weights[i].size());
    for (size_t a = 0; a < sum.size(); ++a) sum[a] += weights[i][a];
  }
  std::vector<std::string> sources, parts = {"base"};
  std::vector<std::vector<double>> values;
  for (auto& [source, sum] : sums) {
    sources.push_back(source);
    values.push_back(sum);
  }
  for (size_t a = 1; !values.empty() && a < values[0].size(); ++a)
    parts.push_back(fmt::format("expert {}", a - 1));
  return StackedBars(sources, parts, values);
}

std::string Shorten(const std::string& text, size_t length = 220) {
  return text.size() <= length ? text : text.substr(0, CompleteUtf8Prefix(text.substr(0, length))) + " ...";
}

std::string RoutingExamples(const StudyJob& job, const StudyFeatures& features, const Clustering& clustering,
                            const MethodRecord& record) {
  const RowMatrix rows{features.train->all().data(), features.train->num_rows(), features.train->dim()};
  const std::vector<int64_t> labels = RowLabels(clustering);
  const MethodOutcome& outcome = record.outcomes.begin()->second;
  std::string html = "<div class=\"wide\"><table class=\"text\">\n" +
                     HeaderRow({"request", "weights", "nearest training rows (cosine, cluster)", "answer"});
  const auto n = static_cast<int64_t>(outcome.predictions.size());
  for (int64_t e = 0; e < std::min(kExamples, n); ++e) {
    const Prediction& p = outcome.predictions[static_cast<size_t>(e * n / std::min(kExamples, n))];
    const auto stored = features.test->row(p.row);
    std::vector<float> feature(stored.begin(), stored.end());
    CenterAndNormalize(feature, clustering.mean);
    std::string nearest, weights = fmt::format("base {:.2f}", p.base_weight);
    for (size_t c = 0; c < p.expert_weights.size(); ++c)
      weights += fmt::format("<br>expert {} {:.2f}", c, p.expert_weights[c]);
    for (const Neighbour& row : NearestRows(rows, clustering.mean, feature, kNeighbours)) {
      const ExampleRecord& example = job.train.records[static_cast<size_t>(row.row)];
      nearest += fmt::format("<p>{:.3f}, {}, {}: {}</p>", row.cosine, labels[static_cast<size_t>(row.row)],
                             EscapeHtml(example.source), EscapeHtml(Shorten(example.prompt.back().content)));
    }
    const EvalRow& asked = job.test[static_cast<size_t>(p.row)];
    html += fmt::format(
        "<tr><td><b>{}</b><br>{}</td><td>{}</td><td>{}</td><td>{}<br><span class=\"quiet\">gold: "
        "{}</span></td></tr>\n",
        EscapeHtml(p.source), EscapeHtml(Shorten(job.tokenizer->Decode(asked.prompt, /*skip_special=*/true))),
        weights, nearest, EscapeHtml(Shorten(p.answer, 80)), EscapeHtml(p.gold));
  }
  return html + "</table></div>\n";
}

// Training losses of the base and of the experts, smoothed over a tenth of the steps.
std::string LearningCurves(Workbench& bench, const Clustering& clustering) {
  std::vector<std::pair<std::string, const StudyAdapter*>> adapters = {{"base", &bench.Base()}};
  const auto experts = bench.Experts(RowGroups(clustering));
  for (size_t c = 0; c < experts.size(); ++c) adapters.emplace_back(fmt::format("expert {}", c), experts[c]);
  std::vector<Series> series;
  for (const auto& [name, adapter] : adapters) {
    Series& s = series.emplace_back(Series{name, {}});
    std::vector<double> losses;
    ForEachLine(adapter->folder / "metrics.jsonl", [&](int64_t number, std::string_view text) {
      const Json line =
          ParseJson(text, fmt::format("{}:{}", (adapter->folder / "metrics.jsonl").string(), number));
      if (line.contains("loss")) losses.push_back(line["loss"].get<double>());
    });
    const size_t window = std::max<size_t>(1, losses.size() / 10);
    double sum = 0;
    for (size_t i = 0; i < losses.size(); ++i) {
      sum += losses[i] - (i >= window ? losses[i - window] : 0);
      s.points.push_back({static_cast<double>(i + 1), sum / static_cast<double>(std::min(window, i + 1))});
    }
  }
  return LineChart(series, "optimiser step", "training loss, nats/token");
}

std::string Ledger(const StudyJob& job) {
  std::map<std::string, int64_t> held_out;
  for (const EvalRow& row : job.test) ++held_out[row.source];
  std::string text = "training rows\n" + job.train.ledger.ToTable() + "\nheld-out rows\n";
  for (const auto& [source, count] : held_out) text += fmt::format("{}  {}\n", source, FormatCount(count));
  if (const auto uses = CountExamples(job.test); !uses.empty())
    text += "\nworked examples, dropped until the prompt fits\n" + ExampleUseText(uses);
  return "<pre>" + EscapeHtml(text) + "</pre>\n";
}

const MethodRecord* FindDone(const StudyResult& result, const std::string& name) {
  for (const MethodRecord& record : result.records) {
    if (record.name == name && !record.outcomes.empty()) return &record;
  }
  return nullptr;
}

std::string Sections(Workbench& bench, const StudyResult& result) {
  const StudyJob& job = bench.job();
  std::string html = Section("Results", ResultsTable(result.summaries));
  html += Section("Against the base adapter", Forests(result.summaries));
  html += Section("Exact match per data set, %", SourceTable(result.summaries));
  const MethodRecord* ensemble = FindDone(result, "ensemble");
  if (ensemble != nullptr) {
    const StudyFeatures& features = bench.Features(job.features);
    const Clustering& clustering = bench.Clusters(features, job.cluster);
    html += Section("Clusters and data sets",
                    OrReason([&] { return ClusterHeatMap(clustering, job.train.sources); }) +
                        OrReason([&] { return StabilityText(bench, features, clustering); }));
    html += Section("Weights by data set of the request", OrReason([&] { return Weights(*ensemble, job); }));
    html += Section("Gradient features of the training rows (t-SNE)",
                    OrReason([&] { return FeatureMaps(bench, features, clustering); }));
    html += Section("Curves",
                    OrReason([&] { return Curves(result.summaries, clustering.clusters.size()); }));
    html += Section("Routing examples",
                    OrReason([&] { return RoutingExamples(job, features, clustering, *ensemble); }));
    html += Section("Learning curves", OrReason([&] { return LearningCurves(bench, clustering); }));
  }
  html += Section("Data", Ledger(job));
  return html + Section("How to reproduce",
                        "<p>Save the configuration below as study.yaml and run</p>\n"
                        "<pre>elrea study --config study.yaml --out DIR</pre>\n<pre>" +
                            EscapeHtml(job.config.dump(2)) + "</pre>\n");
}

}  // namespace

void WriteHtmlReport(Workbench& bench, const StudyResult& result) {
  const StudyJob& job = bench.job();
  std::vector<std::string> seeds;
  for (int64_t seed : job.study.seeds) seeds.push_back(std::to_string(seed));
  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>elrea study</title>\n<meta "
      "name=\"viewport\" content=\"width=device-width\">\n<style>" +
      std::string(kStyle) + "</style></head><body>\n<h1>Ensembles of low-rank experts: a study</h1>\n";
  html +=
      Paragraph(fmt::format("{} training rows, {} held-out rows ({} answered), rank {}, seeds {}. Intervals "
                            "are 95% bootstrap intervals over rows, "
                            "p-values are of paired permutation tests against the base adapter; a row's "
                            "value is its mean over the seeds. Differences "
                            "whose interval excludes zero are coloured. Figures of clusters are of seed {}.",
                            FormatCount(static_cast<int64_t>(job.train.rows.size())),
                            FormatCount(static_cast<int64_t>(job.test.size())),
                            FormatCount(static_cast<int64_t>(
                                StudyAnsweredRows(job.study, /*central=*/true, static_cast<int64_t>(job.test.size()))
                                    .size())),
                            job.lora.rank,
                            Join(seeds, ", "), bench.seed()));
  html += Sections(bench, result) + "</body></html>\n";
  WriteFileAtomically(job.directory / "report.html", html);
}

}  // namespace elrea
