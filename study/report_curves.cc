#include "study/report_curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "study/html_text.h"
#include "study/svg.h"

namespace elrea {
namespace {

struct Step {
  double x;
  std::string method;
};

// The steps that were run, by x.
using Value = std::optional<Estimate> (*)(const MethodSummary&);
Series Collect(const std::vector<MethodSummary>& summaries, const std::vector<Step>& steps, Value value) {
  Series series;
  for (const Step& step : steps) {
    for (const MethodSummary& s : summaries) {
      if (s.name != step.method || s.seeds.empty()) continue;
      if (const auto estimate = value(s)) {
        series.points.push_back({step.x, estimate->mean});
        series.intervals.push_back(estimate->interval);
      }
    }
  }
  return series;
}

std::string Chart(Series series, const char* x_axis, const char* y_axis) {
  if (series.points.size() < 2) return "";
  return "<div>" + LineChart({std::move(series)}, x_axis, y_axis) + "</div>";
}

std::string Pair(const std::string& charts, const char* otherwise) {
  return charts.empty() ? HtmlParagraph(otherwise) : "<div class=\"pair\">" + charts + "</div>\n";
}

std::optional<Estimate> LossChange(const MethodSummary& s) {
  if (!s.loss_change) return std::nullopt;
  return s.loss_change->value;
}

// A cost has no interval.
Estimate Exactly(double value) { return {value, {value, value}}; }
std::optional<Estimate> TrainSeconds(const MethodSummary& s) { return Exactly(s.train_s); }
std::optional<Estimate> DecodeSeconds(const MethodSummary& s) {
  if (s.num_answered == 0) return std::nullopt;
  return Exactly(s.decode_s / static_cast<double>(s.num_answered));
}
std::optional<Estimate> PeakGib(const MethodSummary& s) {
  if (s.num_answered == 0) return std::nullopt;
  return Exactly(static_cast<double>(s.peak_bytes) / (1 << 30));
}

std::vector<Step> ClusterSteps() {
  std::vector<Step> steps;
  for (int k : {2, 3, 4, 6, 8, 16}) steps.push_back({static_cast<double>(k), fmt::format("clusters_{}", k)});
  return steps;
}

}  // namespace

std::string Forests(const std::vector<MethodSummary>& summaries) {
  std::vector<ForestRow> loss, match;
  for (const MethodSummary& s : summaries) {
    // So far away that the others would be one point: the backbone, and other ranks, whose own base is
    // another.
    if (s.name == "base" || s.name == "backbone" || s.name.starts_with("rank_")) continue;
    if (s.loss_change) loss.push_back({s.name, s.loss_change->value});
    if (s.macro_gain) match.push_back({s.name, s.macro_gain->value});
  }
  if (loss.empty() && match.empty())
    return HtmlParagraph("No method has the seeds and rows of the base adapter.");
  std::string html;
  const auto add = [&](const std::vector<ForestRow>& rows, const char* axis, double factor, int digits) {
    if (!rows.empty()) html += "<div>" + ForestPlot(rows, axis, factor, digits) + "</div>";
  };
  add(loss, "response loss minus the base adapter's, nats per token (left is better)", 1, 4);
  add(match, "macro exact match minus the base adapter's, points (right is better)", 100, 1);
  return "<div class=\"pair\">" + html + "</div>\n";
}

std::string Curves(const std::vector<MethodSummary>& summaries, size_t num_clusters) {
  std::vector<Step> top;
  for (size_t k : {1, 2, 4}) {
    if (k < num_clusters) top.push_back({static_cast<double>(k), fmt::format("top_{}", k)});
  }
  top.push_back({static_cast<double>(num_clusters), "ensemble"});
  std::vector<Step> lengths;
  for (int log2 = 9; log2 <= 13; ++log2) {
    lengths.push_back({static_cast<double>(log2), fmt::format("d_proj_{}", 1 << log2)});
  }
  const char* y_axis = "loss minus base, nats/token";
  return Pair(Chart(Collect(summaries, top, LossChange), "experts that answer (top k)", y_axis) +
                  Chart(Collect(summaries, lengths, LossChange), "log2 of the feature's length", y_axis) +
                  Chart(Collect(summaries, ClusterSteps(), LossChange), "clusters", y_axis),
              "No ablation with a curve was run.");
}

std::string EfficiencyCurves(const std::vector<MethodSummary>& summaries) {
  const std::vector<Step> steps = ClusterSteps();
  return Pair(Chart(Collect(summaries, steps, TrainSeconds), "clusters", "training and features, s") +
                  Chart(Collect(summaries, steps, DecodeSeconds), "clusters", "answering, s a row") +
                  Chart(Collect(summaries, steps, PeakGib), "clusters", "peak memory, GiB"),
              "No two of the methods clusters_2 to clusters_16 were run.");
}

}  // namespace elrea
