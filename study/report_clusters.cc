#include "study/report_clusters.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.h"
#include "ensemble/ensemble.h"
#include "study/cluster_stability.h"
#include "study/html_text.h"
#include "study/svg.h"
#include "study/tsne.h"

namespace elrea {
namespace {

constexpr int64_t kBootstraps = 20;
constexpr int64_t kExamples = 6;
constexpr int64_t kNeighbours = 3;

std::vector<std::string> ClusterNames(const Clustering& clustering) {
  std::vector<std::string> names;
  for (size_t c = 0; c < clustering.clusters.size(); ++c) {
    names.push_back(fmt::format("cluster {} ({} rows)", c, clustering.clusters[c].rows.size()));
  }
  return names;
}

std::string Shorten(const std::string& text, size_t length = 220) {
  return text.size() <= length ? text : text.substr(0, CompleteUtf8Prefix(text.substr(0, length))) + " ...";
}

}  // namespace

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
  return HtmlParagraph(fmt::format(
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

std::string WeightBars(const MethodRecord& record, const StudyJob& job) {
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

std::string RoutingExamples(const StudyJob& job, const StudyFeatures& features, const Clustering& clustering,
                            const MethodRecord& record) {
  const RowMatrix rows{features.train->all().data(), features.train->num_rows(), features.train->dim()};
  const std::vector<int64_t> labels = RowLabels(clustering);
  const MethodOutcome& outcome = record.outcomes.begin()->second;
  std::string html =
      "<div class=\"wide\"><table class=\"text\">\n" +
      HtmlHeaderRow({"request", "weights", "nearest training rows (cosine, cluster)", "answer"});
  const auto n = static_cast<int64_t>(outcome.predictions.size());
  for (int64_t e = 0; e < std::min(kExamples, n); ++e) {
    const Prediction& p = outcome.predictions[static_cast<size_t>(e * n / std::min(kExamples, n))];
    const auto stored = features.test->row(p.row);
    std::vector<float> feature(stored.begin(), stored.end());
    CenterAndNormalize(feature, clustering.mean);
    std::string nearest, weights = fmt::format("base&nbsp;{:.2f}", p.base_weight);
    for (size_t c = 0; c < p.expert_weights.size(); ++c)
      weights += fmt::format("<br>expert&nbsp;{}&nbsp;{:.2f}", c, p.expert_weights[c]);
    for (const Neighbour& row : NearestRows(rows, clustering.mean, feature, kNeighbours)) {
      const ExampleRecord example = job.train.texts->Record(row.row);
      nearest += fmt::format("<p>{:.3f}, {}, {}: {}</p>", row.cosine, labels[static_cast<size_t>(row.row)],
                             EscapeHtml(example.source), EscapeHtml(Shorten(example.prompt.back().content)));
    }
    const EvalRow& asked = job.test[static_cast<size_t>(p.row)];
    html += fmt::format(
        "<tr><td><b>{}</b><br>{}</td><td>{}</td><td>{}</td><td>{}<br><span class=\"quiet\">gold: "
        "{}</span></td></tr>\n",
        EscapeHtml(p.source), EscapeHtml(Shorten(asked.instruction)), weights, nearest,
        EscapeHtml(Shorten(p.answer, 80)), EscapeHtml(p.gold));
  }
  return html + "</table></div>\n";
}

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

}  // namespace elrea
