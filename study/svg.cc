#include "study/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

namespace elrea {
namespace {

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void Add(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  // Position of v in [0, 1]; the middle when the range is a point.
  double At(double v) const { return high > low ? (v - low) / (high - low) : 0.5; }
};

std::string Open(double width, double height) {
  return fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" style=\"max-width:{:.0f}px\" role=\"img\">\n", width,
                     height, width);
}

std::string Text(double x, double y, const std::string& text, const char* anchor = "start",
                 const char* extra = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" {}>{}</text>\n", x, y, anchor, extra,
                     EscapeHtml(text));
}

std::string Line(double x1, double y1, double x2, double y2, const std::string& color, double width = 1) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" stroke-width=\"{}\"/>\n",
      x1, y1, x2, y2, color, width);
}

std::string Rect(double x, double y, double width, double height, const std::string& fill) {
  return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x,
                     y, width, height, fill);
}

// Coloured squares with names, in lines of at most `width`, below a figure.
struct Legend {
  static constexpr double kLine = 18;
  std::string svg;
  double height = 0;

  Legend(double left, double top, double width, const std::vector<std::string>& names) {
    double x = left;
    height = names.empty() ? 0 : kLine;
    for (size_t i = 0; i < names.size(); ++i) {
      const double length = 24 + 7.0 * static_cast<double>(names[i].size());
      if (x > left && x + length > left + width) {
        x = left;
        height += kLine;
      }
      svg += Rect(x, top + height - 12, 10, 10, SeriesColor(i)) + Text(x + 14, top + height - 3, names[i]);
      x += length;
    }
  }
};

// The longest label's width in pixels at 12 px type, roughly.
double LabelWidth(const std::vector<std::string>& labels) {
  size_t longest = 0;
  for (const std::string& label : labels) longest = std::max(longest, label.size());
  return 16 + 6.6 * static_cast<double>(longest);
}

constexpr size_t kFewPoints = 12;  // are drawn as points

// The multiples of a round step (1, 2 or 5 times a power of ten) within the range, about five.
std::vector<double> RoundTicks(const Range& range) {
  const double least = (range.high - range.low) / 5;
  if (!(least > 0)) return {range.low};
  const double power = std::pow(10, std::floor(std::log10(least)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= least) step = factor * power;
  }
  const double slack = 1e-9;  // of a step: an end that is a multiple, but for rounding, has its tick
  std::vector<double> values;
  for (double i = std::ceil(range.low / step - slack); i * step <= range.high + slack * step; ++i)
    values.push_back(i == 0 ? 0 : i * step);
  return values;
}

std::vector<double> XTicks(const std::vector<Series>& series, const Range& range) {
  std::set<double> values;
  for (const Series& s : series) {
    for (const auto& point : s.points) values.insert(point[0]);
  }
  return values.size() <= kFewPoints ? std::vector<double>(values.begin(), values.end()) : RoundTicks(range);
}

template <typename AtX, typename AtY>
std::string Curve(const Series& s, const std::string& color, AtX at_x, AtY at_y) {
  std::string path, svg;
  for (const auto& point : s.points) path += fmt::format("{:.1f},{:.1f} ", at_x(point[0]), at_y(point[1]));
  svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"/>\n", path,
                     color);
  for (size_t i = 0; i < s.intervals.size(); ++i) {
    const double left = at_x(s.points[i][0]);
    svg += Line(left, at_y(s.intervals[i].low), left, at_y(s.intervals[i].high), color, 1.4);
  }
  if (s.points.size() > kFewPoints) return svg;
  for (const auto& point : s.points) {
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"/>\n", at_x(point[0]),
                       at_y(point[1]), color);
  }
  return svg;
}

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string SeriesColor(size_t index) {
  static const char* colors[] = {"#3b6fb6", "#e08a1e", "#3a9b5c", "#c2413b", "#7d5ba6",
                                 "#8c6d4f", "#d872ae", "#6b7680", "#a9a92b", "#2ea6b5"};
  return colors[index % std::size(colors)];
}

std::string ForestPlot(const std::vector<ForestRow>& rows, const std::string& axis, double factor,
                       int digits) {
  constexpr double kRow = 22, kPlot = 340, kNumbers = 210;
  std::vector<std::string> labels;
  Range range;
  range.Add(0);
  for (const ForestRow& row : rows) {
    labels.push_back(row.label);
    if (!row.value) continue;
    range.Add(factor * row.value->interval.low);
    range.Add(factor * row.value->interval.high);
  }
  const double left = LabelWidth(labels), height = kRow * static_cast<double>(rows.size()) + 34;
  const auto x = [&](double v) { return left + 8 + (kPlot - 16) * range.At(v); };
  std::string svg = Open(left + kPlot + kNumbers, height) + Line(x(0), 4, x(0), height - 28, "#999");
  for (size_t i = 0; i < rows.size(); ++i) {
    const double y = kRow * static_cast<double>(i) + 14;
    svg += Text(left - 6, y + 4, rows[i].label, "end");
    if (!rows[i].value) continue;
    const Estimate& e = *rows[i].value;
    svg += Line(x(factor * e.interval.low), y, x(factor * e.interval.high), y, "#3b6fb6", 2);
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"#3b6fb6\"/>\n", x(factor * e.mean),
                       y);
    svg += Text(left + kPlot + 4, y + 4,
                fmt::format("{:+.{}f} [{:+.{}f}, {:+.{}f}]", factor * e.mean, digits, factor * e.interval.low,
                            digits, factor * e.interval.high, digits));
  }
  svg += Text(left + kPlot / 2, height - 6, axis, "middle", "class=\"axis\"");
  return svg + "</svg>\n";
}

std::string HeatMap(const std::vector<std::string>& rows, const std::vector<std::string>& columns,
                    const std::vector<std::vector<double>>& values, int digits) {
  constexpr double kCell = 26;
  const double left = LabelWidth(rows), width = std::max(64.0, LabelWidth(columns));
  std::string svg =
      Open(left + width * static_cast<double>(columns.size()), kCell * static_cast<double>(rows.size()) + 24);
  for (size_t c = 0; c < columns.size(); ++c) {
    svg += Text(left + width * (static_cast<double>(c) + 0.5), 14, columns[c], "middle");
  }
  for (size_t r = 0; r < rows.size(); ++r) {
    const double y = 22 + kCell * static_cast<double>(r);
    const double total = std::accumulate(values[r].begin(), values[r].end(), 0.0);
    svg += Text(left - 6, y + 17, rows[r], "end");
    for (size_t c = 0; c < columns.size(); ++c) {
      const double share = total > 0 ? values[r][c] / total : 0;
      const double x = left + width * static_cast<double>(c);
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#3b6fb6\" "
          "fill-opacity=\"{:.3f}\" stroke=\"#ddd\"/>\n",
          x, y, width, kCell, share);
      svg += Text(x + width / 2, y + 17, fmt::format("{:.{}f}", values[r][c], digits), "middle",
                  share > 0.55 ? "style=\"fill:#fff\"" : "");
    }
  }
  return svg + "</svg>\n";
}

std::string StackedBars(const std::vector<std::string>& rows, const std::vector<std::string>& parts,
                        const std::vector<std::vector<double>>& values) {
  constexpr double kRow = 26, kLength = 520;
  const double left = LabelWidth(rows);
  const double bottom = kRow * static_cast<double>(rows.size()) + 4;
  const Legend legend(left, bottom, kLength, parts);
  std::string svg = Open(left + kLength + 10, bottom + legend.height);
  for (size_t r = 0; r < rows.size(); ++r) {
    const double y = kRow * static_cast<double>(r) + 4;
    const double total = std::accumulate(values[r].begin(), values[r].end(), 0.0);
    double x = left;
    svg += Text(left - 6, y + 15, rows[r], "end");
    for (size_t p = 0; p < values[r].size(); ++p) {
      const double length = total > 0 ? kLength * values[r][p] / total : 0;
      svg += Rect(x, y, length, kRow - 6, SeriesColor(p));
      if (length > 34) {
        svg += Text(x + length / 2, y + 15, fmt::format("{:.0f}%", 100 * values[r][p] / total), "middle",
                    "style=\"fill:#fff\"");
      }
      x += length;
    }
  }
  return svg + legend.svg + "</svg>\n";
}

std::string ScatterPlot(const std::vector<std::array<double, 2>>& points, const std::vector<size_t>& labels,
                        const std::vector<std::string>& names) {
  constexpr double kSize = 420;
  Range x, y;
  for (const auto& point : points) {
    x.Add(point[0]);
    y.Add(point[1]);
  }
  const Legend legend(4, kSize, kSize - 4, names);
  std::string svg = Open(kSize, kSize + legend.height + 4) + Rect(0, 0, kSize, kSize, "#f7f7f5");
  for (size_t i = 0; i < points.size(); ++i) {
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.2\" fill=\"{}\" fill-opacity=\"0.75\"/>\n",
                       8 + (kSize - 16) * x.At(points[i][0]), 8 + (kSize - 16) * y.At(points[i][1]),
                       SeriesColor(labels[i]));
  }
  return svg + legend.svg + "</svg>\n";
}

std::string LineChart(const std::vector<Series>& series, const std::string& x_axis,
                      const std::string& y_axis) {
  constexpr double kWidth = 560, kHeight = 250, kLeft = 74, kBottom = 42;
  Range x, y;
  std::vector<std::string> names;
  for (const Series& s : series) {
    names.push_back(s.name);
    for (const auto& point : s.points) {
      x.Add(point[0]);
      y.Add(point[1]);
    }
    for (const Interval& interval : s.intervals) {
      y.Add(interval.low);
      y.Add(interval.high);
    }
  }
  const auto at_x = [&](double v) { return kLeft + 10 + (kWidth - kLeft - 24) * x.At(v); };
  const auto at_y = [&](double v) { return 12 + (kHeight - kBottom - 12) * (1 - y.At(v)); };
  const Legend legend(kLeft, kHeight, kWidth - kLeft, names.size() > 1 ? names : std::vector<std::string>());
  std::string svg = Open(kWidth, kHeight + legend.height);
  for (double v : RoundTicks(y)) {
    svg += Line(kLeft, at_y(v), kWidth - 4, at_y(v), "#e4e4e0");
    svg += Text(kLeft - 6, at_y(v) + 4, fmt::format("{:.3g}", v), "end");
  }
  for (double v : XTicks(series, x))
    svg += Text(at_x(v), kHeight - kBottom + 16, fmt::format("{:.4g}", v), "middle");
  for (size_t i = 0; i < series.size(); ++i) svg += Curve(series[i], SeriesColor(i), at_x, at_y);
  svg += Text((kLeft + kWidth) / 2, kHeight - kBottom + 34, x_axis, "middle", "class=\"axis\"");
  svg += fmt::format(
      "<text transform=\"translate(12 {:.0f}) rotate(-90)\" text-anchor=\"middle\" "
      "class=\"axis\">{}</text>\n",
      (kHeight - kBottom) / 2 + 6, EscapeHtml(y_axis));
  return svg + legend.svg + "</svg>\n";
}

}  // namespace elrea
