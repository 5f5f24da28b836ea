// elrea route: who would answer a prompt, and why.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/prompts.h"
#include "cli/responder.h"
#include "cli/row_index.h"
#include "core/text.h"

namespace elrea {
namespace {

struct RouteFlags {
  TargetFlags target;
  PromptFlags prompts;
  int64_t nearest = 5;
  bool json = false;
};

Json ExplainRouting(const std::string& prompt, const Routing& routing, const Clustering& clustering) {
  Json json = {{"prompt", prompt}, {"base", {{"weight", routing.base_weight}}}, {"clusters", Json::array()}};
  for (size_t c = 0; c < clustering.clusters.size(); ++c) {
    json["clusters"].push_back({{"cluster", c},
                                {"weight", routing.weights[c]},
                                {"cosine", routing.cosines[c]},
                                {"rows", clustering.clusters[c].rows.size()},
                                {"sources", clustering.clusters[c].sources}});
  }
  return json;
}

void PrintTables(const Json& route) {
  std::vector<std::vector<std::string>> table = {
      {"adapter", "weight", "cosine", "rows", "sources"},
      {"base", fmt::format("{:.4f}", route["base"]["weight"].get<double>()), "", "", ""}};
  for (const Json& c : route["clusters"]) {
    table.push_back({fmt::format("expert {}", c["cluster"].get<int64_t>()),
                     fmt::format("{:.4f}", c["weight"].get<double>()),
                     fmt::format("{:.4f}", c["cosine"].get<double>()), FormatCount(c["rows"].get<int64_t>()),
                     c["sources"].dump()});
  }
  std::vector<std::vector<std::string>> rows = {{"nearest row", "cosine", "expert", "source", "instruction"}};
  for (const Json& row : route["nearest_rows"]) {
    std::string text = row["instruction"].get<std::string>().substr(0, 60);
    text.resize(CompleteUtf8Prefix(text));
    rows.push_back({std::to_string(row["row"].get<int64_t>()),
                    fmt::format("{:.4f}", row["cosine"].get<double>()),
                    std::to_string(row["cluster"].get<int64_t>()), row["source"].get<std::string>(), text});
  }
  std::printf("> %s\n\n%s\n%s", route["prompt"].get<std::string>().c_str(), FormatTable(table).c_str(),
              FormatTable(rows).c_str());
}

void RoutePrompts(const RouteFlags& flags) {
  Responder responder = OpenResponder(flags.target, {});
  const RunPaths paths{flags.target.run};
  const std::vector<Prompt> prompts = LoadPrompts(flags.prompts, responder.backbone);
  const Clustering& clustering = responder.ensemble->clustering();
  const RowIndex rows(paths, clustering);
  for (const Prompt& prompt : prompts) {
    std::vector<std::vector<float>> features;
    const Routing routing = responder.ensemble->RouteBatch({prompt.tokens}, &features)[0];
    Json route = ExplainRouting(PromptText(prompt), routing, clustering);
    route["nearest_rows"] = rows.Nearest(features[0], flags.nearest);
    if (flags.json) {
      std::printf("%s\n", JsonLine(route).c_str());
    } else {
      PrintTables(route);
    }
  }
}

}  // namespace

void AddRouteCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<RouteFlags>();
  CLI::App* command = app.add_subcommand("route", "explain how a run would weigh its adapters for a prompt");
  command->add_option("--run", flags->target.run, "a run's folder")->required()->type_name("DIR");
  command
      ->add_option("--set", flags->target.model.overrides,
                   "override a routing option, as routing.temperature=0.5")
      ->type_name("NAME=VALUE")
      ->take_all()
      ->expected(1);
  AddPromptFlags(*command, flags->prompts);
  command->add_option("--nearest", flags->nearest, "training rows to show")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--json", flags->json, "one JSON object per prompt");
  command->callback([&invocation, flags] { invocation.action = [flags] { RoutePrompts(*flags); }; });
}

}  // namespace elrea
