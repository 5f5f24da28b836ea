#include "study/html_text.h"

#include <fmt/format.h>

#include "study/svg.h"

namespace elrea {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1290px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
p, li { max-width: 75ch; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12px; } th, td { padding: .2rem .35rem; text-align: right; white-space: nowrap; }
th { white-space: normal; border-bottom: 2px solid #999; vertical-align: bottom; } td { border-bottom: 1px solid #eee; }
th:first-child, td:first-child, .left { text-align: left; } .text td { white-space: normal; text-align: left; vertical-align: top; }
.text th { text-align: left; } .text .better, .text .worse, .text .quiet { white-space: nowrap; }
.better { color: #1d7a3c; } .worse { color: #b03030; } .quiet { color: #777; }
svg { width: 100%; height: auto; display: block; margin: .6rem 0; } svg text { font: 12px system-ui, sans-serif; fill: #222; }
svg text.axis { fill: #666; } .pair { display: flex; flex-wrap: wrap; gap: 1.5rem; } .pair > div { flex: 1 1 380px; }
pre { background: #f6f6f4; padding: .8rem; font-size: 12px; white-space: pre-wrap; }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  body { margin: 0; padding: 0; max-width: none; font-size: 11px; }
  h2 { break-after: avoid; } figure, svg, tr { break-inside: avoid; } .wide { overflow: visible; }
  table { font-size: 8.5px; } th, td { padding: .15rem .25rem; } .pair > div { flex: 1 1 240px; }
}
)";

}  // namespace

std::string HtmlPage(const std::string& title, const std::string& body) {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + EscapeHtml(title) +
         "</title>\n<meta name=\"viewport\" content=\"width=device-width\">\n<style>" + std::string(kStyle) +
         "</style></head><body>\n<h1>" + EscapeHtml(title) + "</h1>\n" + body + "</body></html>\n";
}

std::string HtmlCell(const std::string& text, const char* classes) {
  return *classes == '\0' ? "<td>" + EscapeHtml(text) + "</td>"
                          : fmt::format("<td class=\"{}\">{}</td>", classes, EscapeHtml(text));
}

std::string HtmlHeaderRow(const std::vector<std::string>& names) {
  std::string row = "<thead><tr>";
  for (const std::string& name : names) row += "<th>" + EscapeHtml(name) + "</th>";
  return row + "</tr></thead>\n";
}

std::string HtmlSection(const std::string& title, const std::string& body) {
  return "<h2>" + EscapeHtml(title) + "</h2>\n" + body;
}

std::string HtmlParagraph(const std::string& text) { return "<p>" + EscapeHtml(text) + "</p>\n"; }

std::string HtmlPreformatted(const std::string& text) { return "<pre>" + EscapeHtml(text) + "</pre>\n"; }

}  // namespace elrea
