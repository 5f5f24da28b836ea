// The report's spine: which sections there are, in order. What they show is made by study/report_*.cc.
#include "study/html_report.h"

#include <fmt/format.h>

#include "core/commit.h"
#include "core/text.h"
#include "study/choice_summary.h"
#include "study/html_text.h"
#include "study/report_clusters.h"
#include "study/report_curves.h"
#include "study/report_tables.h"

namespace elrea {
namespace {

const MethodRecord* FindDone(const StudyResult& result, const std::string& name) {
  for (const MethodRecord& record : result.records) {
    if (record.name == name && !record.outcomes.empty()) return &record;
  }
  return nullptr;
}

// Of the central comparison, or the others.
std::vector<MethodSummary> Select(std::vector<MethodSummary> summaries, bool central) {
  std::erase_if(summaries, [&](const MethodSummary& s) { return IsCentral(s.origin) != central; });
  return summaries;
}

std::string SeedList(const std::vector<int64_t>& seeds) {
  std::vector<std::string> names;
  for (int64_t seed : seeds) names.push_back(std::to_string(seed));
  return Join(names, ", ");
}

std::string Introduction(const Workbench& bench) {
  const StudyJob& job = bench.job();
  const auto num_rows = static_cast<int64_t>(job.test.size());
  const auto answered = [&](bool central) {
    return FormatCount(static_cast<int64_t>(StudyAnsweredRows(job.study, central, num_rows).size()));
  };
  return HtmlParagraph(fmt::format("{} training rows, {} held-out rows, of which {} are answered ({} by "
                                   "ablations); rank {}; seeds {} "
                                   "(ablations: {}).",
                                   FormatCount(static_cast<int64_t>(job.train.rows.size())),
                                   FormatCount(num_rows), answered(true), answered(false), job.lora.rank,
                                   SeedList(job.study.seeds), SeedList(StudySeeds(job.study, false)))) +
         HtmlParagraph(fmt::format("Intervals are 95% bootstrap intervals over rows, p-values are of paired "
                                   "permutation tests against the "
                                   "base adapter; a row's value is its mean over the seeds. Differences "
                                   "whose interval excludes zero and whose p is below 0.05 are "
                                   "coloured: green where the method is better, red where it is worse. "
                                   "Figures of clusters are of seed {}.",
                                   bench.seed()));
}

std::string EnsembleSections(Workbench& bench, const StudyResult& result, const MethodRecord& ensemble) {
  const StudyJob& job = bench.job();
  const StudyFeatures& features = bench.Features(job.features);
  const Clustering& clustering = bench.Clusters(features, job.cluster);
  std::string html =
      HtmlSection("Curves",
                  HtmlOrReason([&] { return Curves(result.summaries, clustering.clusters.size()); })) +
      HtmlSection("Cost over the number of clusters",
                  HtmlOrReason([&] { return EfficiencyCurves(result.summaries); }));
  html += HtmlSection("Clusters and data sets",
                      HtmlOrReason([&] { return ClusterHeatMap(clustering, job.train.sources); }) +
                          HtmlOrReason([&] { return StabilityText(bench, features, clustering); }));
  html += HtmlSection("Weights by data set of the request",
                      HtmlOrReason([&] { return WeightBars(ensemble, job); }));
  html += HtmlSection("Gradient features of the training rows (t-SNE)",
                      HtmlOrReason([&] { return FeatureMaps(bench, features, clustering); }));
  html += HtmlSection("Routing examples",
                      HtmlOrReason([&] { return RoutingExamples(job, features, clustering, ensemble); }));
  return html +
         HtmlSection("Learning curves", HtmlOrReason([&] { return LearningCurves(bench, clustering); }));
}

std::string Ledger(const StudyJob& job) {
  std::map<std::string, int64_t> held_out;
  for (const EvalRow& row : job.test) ++held_out[row.source];
  std::string text = "training rows\n" + job.ledger_table + "\nheld-out rows\n";
  for (const auto& [source, count] : held_out) text += fmt::format("{}  {}\n", source, FormatCount(count));
  if (const auto uses = CountExamples(job.test); !uses.empty())
    text += "\nworked examples, dropped until the prompt fits\n" + ExampleUseText(uses);
  return HtmlPreformatted(text);
}

std::string Reproduction(const StudyJob& job) {
  return HtmlParagraph(fmt::format(
             "Made by elrea at commit {} with backbone {}, seeds {}. Save the configuration below as "
             "study.yaml and run",
             BuildCommit(), job.decoder->weights().fingerprint, SeedList(job.study.seeds))) +
         HtmlPreformatted("elrea study --config study.yaml --out DIR") + HtmlPreformatted(job.config.dump(2));
}

}  // namespace

void WriteHtmlReport(Workbench& bench, const StudyResult& result) {
  const StudyJob& job = bench.job();
  std::string body = Introduction(bench);
  const std::vector<MethodSummary> central = Select(result.summaries, true),
                                   others = Select(result.summaries, false);
  body += HtmlSection("Results", ResultsTable(central) + Forests(central));
  body += HtmlSection("The ensemble against each method", RivalsTable(result.rivals));
  body += HtmlSection("The paper's findings", FindingsTable(result.findings));
  body += HtmlSection("Ablations and methods beyond the paper", ResultsTable(others) + Forests(others));
  body += HtmlSection("Cost", CostTable(result.summaries));
  body += HtmlSection("Exact match per data set, %", SourceTable(result.summaries));
  if (const std::string tasks = TaskTable(central); !tasks.empty()) body += HtmlSection("Per task, %", tasks);
  if (const std::string choices = ChoiceSummaryHtml(result.summaries); !choices.empty())
    body += HtmlSection("By likelihood of the choices", choices);
  if (const MethodRecord* ensemble = FindDone(result, "ensemble"); ensemble != nullptr) {
    body += HtmlOrReason([&] { return EnsembleSections(bench, result, *ensemble); });
  }
  body += HtmlSection("The methods", MethodsTable(result.summaries));
  body += HtmlSection("Data", Ledger(job)) + HtmlSection("How to reproduce", Reproduction(job));
  WriteFileAtomically(job.directory / "report.html",
                      HtmlPage("Ensembles of low-rank experts: a study", body));
}

}  // namespace elrea
