// Figures as inline SVG text, for a page without scripts: they print as they look.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/statistics.h"

namespace elrea {

// &, <, >, " and ' as entities.
std::string EscapeHtml(std::string_view text);

// One of a few colours that tell apart in colour and in grey; repeats after ten.
std::string SeriesColor(size_t index);

struct ForestRow {
  std::string label;
  std::optional<Estimate> value;  // nothing: the label alone
};
// Points with intervals against a line at zero; `digits` after the point.
std::string ForestPlot(const std::vector<ForestRow>& rows, const std::string& axis, double factor,
                       int digits);

// values[row][column] >= 0, shaded by the share of their row's sum; the numbers are written in the cells.
std::string HeatMap(const std::vector<std::string>& rows, const std::vector<std::string>& columns,
                    const std::vector<std::vector<double>>& values, int digits);

// Bars of parts, each row scaled to the same length.
std::string StackedBars(const std::vector<std::string>& rows, const std::vector<std::string>& parts,
                        const std::vector<std::vector<double>>& values);

// labels[i] in [0, names.size()) colours points[i].
std::string ScatterPlot(const std::vector<std::array<double, 2>>& points, const std::vector<size_t>& labels,
                        const std::vector<std::string>& names);

struct Series {
  std::string name;
  std::vector<std::array<double, 2>> points;  // x ascending
  std::vector<Interval> intervals = {};       // of y at each point, drawn as bars; or none
};
// Ticks at the values of x where all points share a few, else at round numbers. No legend for one series.
std::string LineChart(const std::vector<Series>& series, const std::string& x_axis,
                      const std::string& y_axis);

}  // namespace elrea
