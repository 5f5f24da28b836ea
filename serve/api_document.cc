#include "serve/api_document.h"

#include <fmt/format.h>

#include <algorithm>

#include "serve/web_files.h"

namespace elrea {

std::string NumbersUpTo(int64_t last) {
  const std::string digits = std::to_string(last);
  std::string pattern = "^(" + digits;
  // Those of as many digits: equal to `last` up to a digit, smaller in it, and then any.
  for (size_t i = 0; i < digits.size(); ++i) {
    const char lowest = i == 0 && digits.size() > 1 ? '1' : '0';
    if (digits[i] <= lowest) continue;
    pattern += fmt::format("|{}[{}-{}]", digits.substr(0, i), lowest, static_cast<char>(digits[i] - 1));
    if (const size_t rest = digits.size() - i - 1; rest > 0) pattern += fmt::format("[0-9]{{{}}}", rest);
  }
  if (digits.size() > 1) pattern += "|0";
  if (digits.size() > 1) pattern += fmt::format("|[1-9][0-9]{{0,{}}}", digits.size() - 2);
  return pattern + ")$";
}

Json ApiDocument(const std::vector<std::shared_ptr<const ServedRun>>& runs) {
  const auto& files = WebFiles();
  const auto file =
      std::find_if(files.begin(), files.end(), [](const WebFile& f) { return f.name == "openapi.json"; });
  Json document = ParseJson(file->bytes, "openapi.json");
  if (runs.empty()) return document;
  int64_t vocab = INT64_MAX, context = INT64_MAX, dimensions = INT64_MAX;
  for (const auto& run : runs) {
    const ModelConfig& config = run->ensemble->decoder().config();
    vocab = std::min(vocab, config.vocab);
    context = std::min(context, config.context_length);
    dimensions = std::min(dimensions, static_cast<int64_t>(run->ensemble->clustering().dim));
  }
  Json& schemas = document["components"]["schemas"];
  schemas["TokenIds"]["items"]["maximum"] = vocab - 1;
  schemas["TokenIds"]["maxItems"] = context - 1;
  schemas["LogitBias"]["propertyNames"]["pattern"] = NumbersUpTo(vocab - 1);
  schemas["EmbeddingCall"]["properties"]["dimensions"]["maximum"] = dimensions;
  const auto num_experts = [](const auto& run) { return run->ensemble->bank().num_experts(); };
  const int64_t experts = num_experts(runs[0]);
  if (std::all_of(runs.begin(), runs.end(), [&](const auto& run) { return num_experts(run) == experts; })) {
    schemas["EnsembleCall"]["properties"]["weights"]["properties"]["experts"]["anyOf"] = {
        {{"maxItems", 0}}, {{"minItems", experts}, {"maxItems", experts}}};
  }
  return document;
}

}  // namespace elrea
