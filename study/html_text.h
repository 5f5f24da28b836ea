// Pieces of a page without scripts, as text.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "eval/statistics.h"

namespace elrea {

// A whole page with the report's style sheet; `body` is HTML.
std::string HtmlPage(const std::string& title, const std::string& body);

// Text is escaped in all of these; bodies are HTML. `classes`: of the style sheet, may be empty.
std::string HtmlCell(const std::string& text, const char* classes = "");
std::string HtmlHeaderRow(const std::vector<std::string>& names);
std::string HtmlSection(const std::string& title, const std::string& body);
std::string HtmlParagraph(const std::string& text);
std::string HtmlPreformatted(const std::string& text);

// What `make` returns, or a line that says why there is nothing: a figure that fails spoils no report.
template <typename Make>
std::string HtmlOrReason(Make make) {
  try {
    return make();
  } catch (const std::exception& error) {
    const std::string what = error.what();
    return HtmlParagraph("not shown: " + what.substr(0, what.find('\n')));
  }
}

}  // namespace elrea
