#include "study/report_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/text.h"
#include "study/html_text.h"
#include "study/svg.h"

namespace elrea {
namespace {

// A difference, coloured where it is shown (ShownSide). `sign`: 1 where more is better.
std::string DifferenceCell(const std::optional<PairedDifference>& d, double factor, int digits, int sign) {
  const int side = d ? sign * ShownSide(*d) : 0;
  return HtmlCell(DifferenceText(d, factor, digits), side > 0 ? "better" : side < 0 ? "worse" : "");
}

std::vector<std::string> Headers(bool answers) {
  std::vector<std::string> names = {"method", "seeds"};
  if (answers) {
    names.insert(names.end(), {"n", "macro exact match, %", "minus base, points", "relative gain"});
  }
  names.insert(names.end(), {"n", "response loss, nats/token", "minus base", "relative"});
  return names;
}

std::string ResultsRow(const MethodSummary& s, bool answers) {
  std::string html = "<tr>" + HtmlCell(s.name);
  if (s.seeds.empty()) {
    return html + fmt::format("<td colspan=\"{}\" class=\"left worse\">failed: {}</td></tr>\n",
                              Headers(answers).size() - 1, EscapeHtml(s.failure));
  }
  html += HtmlCell(std::to_string(s.seeds.size()));
  if (answers) {
    html += HtmlCell(FormatCount(s.num_answered)) + HtmlCell(PointsText(s.macro)) +
            DifferenceCell(s.macro_gain, 100, 1, 1) +
            HtmlCell(ShareText(s.relative_gain));
  }
  html += HtmlCell(FormatCount(s.num_losses)) + HtmlCell(s.loss ? fmt::format("{:.4f}", s.loss->mean) : "-") +
          DifferenceCell(s.loss_change, 1, 4, -1) + HtmlCell(ShareText(s.relative_loss));
  return html + "</tr>\n";
}

}  // namespace

std::string ResultsTable(const std::vector<MethodSummary>& summaries) {
  if (summaries.empty()) return HtmlParagraph("None was run.");
  const bool answers = std::any_of(summaries.begin(), summaries.end(),
                                   [](const MethodSummary& s) { return s.num_answered > 0; });
  std::string html = "<div class=\"wide\"><table>\n" + HtmlHeaderRow(Headers(answers));
  for (const MethodSummary& s : summaries) html += ResultsRow(s, answers);
  html += "</table></div>\n";
  for (const MethodSummary& s : summaries) {
    if (!s.seeds.empty() && !s.failure.empty())
      html += HtmlParagraph(fmt::format("{} is incomplete: {}", s.name, s.failure));
  }
  return html;
}

std::string CostTable(const std::vector<MethodSummary>& summaries) {
  std::string html = "<div class=\"wide\"><table>\n" +
                     HtmlHeaderRow({"method", "training, s", "rows answered", "answering, s", "peak memory while answering"});
  for (const MethodSummary& s : summaries) {
    if (s.seeds.empty()) continue;
    const bool answered = s.num_answered > 0;
    html += "<tr>" + HtmlCell(s.name) + HtmlCell(fmt::format("{:.0f}", s.train_s)) +
            HtmlCell(answered ? FormatCount(s.num_answered) : "-") +
            HtmlCell(answered ? fmt::format("{:.0f}", s.decode_s) : "-") +
            HtmlCell(answered ? FormatBytes(s.peak_bytes) : "-") + "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string MethodsTable(const std::vector<MethodSummary>& summaries) {
  std::string html =
      "<div class=\"wide\"><table class=\"text\">\n" + HtmlHeaderRow({"method", "origin", "what"});
  for (const MethodSummary& s : summaries) {
    html += "<tr>" + HtmlCell(s.name) + HtmlCell(s.origin) + HtmlCell(s.help) + "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string SourceTable(const std::vector<MethodSummary>& summaries) {
  std::string html;
  for (const MethodSummary& s : summaries) {
    if (s.num_answered == 0) continue;
    if (html.empty()) {
      std::vector<std::string> names = {"method"};
      for (const std::string& header : SourceHeaders(s.by_source)) names.push_back(header);
      names.insert(names.end(), {"all rows", "all rows, strict"});
      html = "<div class=\"wide\"><table>\n" + HtmlHeaderRow(names);
    }
    html += "<tr>" + HtmlCell(s.name);
    for (const auto& [source, value] : s.by_source) html += HtmlCell(PointsText(value));
    html += HtmlCell(PointsText(s.micro)) + HtmlCell(fmt::format("{:.1f}", 100 * s.strict)) + "</tr>\n";
  }
  if (html.empty()) return HtmlParagraph("No row was answered.");
  const std::string few = FewRowsText(AnsweredSources(summaries));
  return html + "</table></div>\n" + (few.empty() ? "" : HtmlParagraph(few));
}

std::string TaskTable(const std::vector<MethodSummary>& summaries) {
  struct Column {
    std::string name;
    const BySourceEstimates* values;
  };
  std::vector<Column> columns;
  for (const MethodSummary& s : summaries) {
    if (!s.by_task.empty()) columns.push_back({s.name, &s.by_task});
    if (s.choices && !s.choices->by_task.empty()) columns.push_back({s.name + ", choices", &s.choices->by_task});
  }
  std::map<std::string, int64_t> rows;
  for (const Column& column : columns) {
    for (const auto& [task, value] : *column.values) rows[task] = std::max(rows[task], value.n);
  }
  if (rows.empty()) return "";
  std::vector<std::string> headers = {"task", "n"};
  for (const Column& column : columns) headers.push_back(column.name);
  std::string html = "<div class=\"wide\"><table>\n" + HtmlHeaderRow(headers);
  for (const auto& [task, n] : rows) {
    html += "<tr>" + HtmlCell(task) + HtmlCell(FormatCount(n));
    for (const Column& column : columns) {
      const auto found = column.values->find(task);
      html += HtmlCell(found == column.values->end() ? "" : fmt::format("{:.1f}", 100 * found->second.mean));
    }
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string RivalsTable(const std::vector<Rival>& rivals) {
  if (rivals.empty()) return HtmlParagraph("The ensemble has nobody to be compared with.");
  std::string html = "<div class=\"wide\"><table>\n" +
                     HtmlHeaderRow({"the ensemble minus", "seeds", "n", "macro exact match, points", "n",
                                    "response loss, nats/token"});
  for (const auto& [name, c] : rivals) {
    html += "<tr>" + HtmlCell(name) + HtmlCell(std::to_string(c.seeds.size())) +
            HtmlCell(c.macro ? FormatCount(c.macro->n) : "-") + DifferenceCell(c.macro, 100, 1, 1) +
            HtmlCell(c.loss ? FormatCount(c.loss->n) : "-") + DifferenceCell(c.loss, 1, 4, -1) + "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string FindingsTable(const std::vector<Finding>& findings) {
  std::string html = "<div class=\"wide\"><table class=\"text\">\n" +
                     HtmlHeaderRow({"the paper's finding", "here", "evidence"});
  for (const Finding& finding : findings) {
    const char* classes = finding.verdict == Verdict::kConfirmed      ? "better"
                          : finding.verdict == Verdict::kNotConfirmed ? "worse"
                                                                      : "quiet";
    html += "<tr>" + HtmlCell(finding.claim) + HtmlCell(VerdictName(finding.verdict), classes) +
            HtmlCell(finding.evidence) + "</tr>\n";
  }
  return html + "</table></div>\n";
}

}  // namespace elrea
