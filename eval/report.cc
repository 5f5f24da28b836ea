#include "eval/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/text.h"

namespace elrea {
namespace {

// Rows of each source, sources by first appearance.
struct SourceRows {
  std::vector<std::string> names;
  std::vector<std::vector<size_t>> rows;
};

SourceRows GroupBySource(const std::vector<Prediction>& predictions) {
  SourceRows groups;
  for (size_t i = 0; i < predictions.size(); ++i) {
    const auto found = std::find(groups.names.begin(), groups.names.end(), predictions[i].source);
    const size_t group = static_cast<size_t>(found - groups.names.begin());
    if (found == groups.names.end()) {
      groups.names.push_back(predictions[i].source);
      groups.rows.emplace_back();
    }
    groups.rows[group].push_back(i);
  }
  return groups;
}

ScoreCell FinishCell(ScoreCell cell) {
  cell.accuracy = static_cast<double>(cell.correct) / static_cast<double>(std::max<int64_t>(cell.n, 1));
  cell.interval = WilsonInterval(cell.correct, cell.n);
  return cell;
}

ScoreCell ScoreRows(const std::vector<Prediction>& predictions, const std::vector<size_t>& rows) {
  ScoreCell cell;
  cell.n = static_cast<int64_t>(rows.size());
  for (size_t row : rows) cell.correct += predictions[row].correct;
  return FinishCell(cell);
}

std::vector<size_t> AllRows(size_t n) {
  std::vector<size_t> rows(n);
  for (size_t i = 0; i < n; ++i) rows[i] = i;
  return rows;
}

// value(row) gathered per source, and over all rows.
template <typename Value>
std::vector<std::vector<double>> PerSource(const SourceRows& groups, Value value) {
  std::vector<std::vector<double>> values(groups.rows.size());
  for (size_t g = 0; g < groups.rows.size(); ++g) {
    for (size_t row : groups.rows[g]) values[g].push_back(value(row));
  }
  return values;
}
// value(row) of all rows that have one (no NaN).
template <typename Value>
std::vector<double> OverAll(size_t num_rows, Value value) {
  std::vector<double> values;
  for (size_t row = 0; row < num_rows; ++row) {
    if (const double v = value(row); !std::isnan(v)) values.push_back(v);
  }
  return values;
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

// value(outcome) of the scored rows, by source. Sources without such rows are left out.
template <typename Value>
std::vector<std::vector<double>> ChoiceValues(const MethodAnswers& answers, const SourceRows& groups, Value value) {
  std::vector<std::vector<double>> values;
  for (const auto& rows : groups.rows) {
    std::vector<double> of_source;
    for (size_t row : rows) {
      if (answers.choices[row]) of_source.push_back(value(row));
    }
    if (!of_source.empty()) values.push_back(std::move(of_source));
  }
  return values;
}

std::vector<double> Flat(const std::vector<std::vector<double>>& groups) {
  std::vector<double> all;
  for (const auto& group : groups) all.insert(all.end(), group.begin(), group.end());
  return all;
}

std::optional<ChoiceScore> ScoreChoices(const MethodAnswers& answers, const SourceRows& groups,
                                        const ReportOptions& options) {
  if (answers.choices.empty()) return std::nullopt;
  const auto values = [&](auto value) {
    return ChoiceValues(answers, groups, [&](size_t row) { return static_cast<double>(value(*answers.choices[row])); });
  };
  const auto right = values([](const ChoiceOutcome& o) { return o.by_sum; });
  if (right.empty()) return std::nullopt;
  ChoiceScore score;
  for (size_t g = 0; g < groups.rows.size(); ++g) {
    ScoreCell cell;
    for (size_t row : groups.rows[g]) {
      if (!answers.choices[row]) continue;
      ++cell.n;
      cell.correct += answers.choices[row]->by_sum;
    }
    if (cell.n == 0) continue;
    score.micro.n += cell.n;
    score.micro.correct += cell.correct;
    score.by_source[groups.names[g]] = FinishCell(cell);
  }
  score.micro = FinishCell(score.micro);
  score.macro = BootstrapMean(right, options.bootstrap_samples, options.seed);
  score.per_token = Mean(Flat(values([](const ChoiceOutcome& o) { return o.per_token; })));
  score.per_character = Mean(Flat(values([](const ChoiceOutcome& o) { return o.per_character; })));
  score.loss = Mean(Flat(values([](const ChoiceOutcome& o) { return o.loss; })));
  return score;
}

void CompareChoices(const MethodAnswers& a, const MethodAnswers& b, const SourceRows& groups,
                    const ReportOptions& options, Comparison& c) {
  if (a.choices.empty() || b.choices.empty()) return;
  const auto right = ChoiceValues(a, groups, [&](size_t row) {
    return static_cast<double>(a.choices[row]->by_sum) - static_cast<double>(b.choices[row]->by_sum);
  });
  if (right.empty()) return;
  const auto loss =
      ChoiceValues(a, groups, [&](size_t row) { return a.choices[row]->loss - b.choices[row]->loss; });
  c.choice_macro = BootstrapMean(right, options.bootstrap_samples, options.seed);
  c.choice_loss = BootstrapMean({Flat(loss)}, options.bootstrap_samples, options.seed);
}

MethodScore ScoreMethod(const MethodAnswers& answers, const SourceRows& groups,
                        const ReportOptions& options) {
  MethodScore score;
  score.method = answers.method;
  for (const auto& rows : groups.rows) score.by_source.push_back(ScoreRows(answers.predictions, rows));
  score.micro = ScoreRows(answers.predictions, AllRows(answers.predictions.size()));
  const auto correct = [&](size_t row) { return answers.predictions[row].correct ? 1.0 : 0.0; };
  score.macro = BootstrapMean(PerSource(groups, correct), options.bootstrap_samples, options.seed);
  const auto loss = [&](size_t row) { return answers.losses[row]; };
  if (const auto losses = OverAll(answers.losses.size(), loss); !losses.empty()) score.loss = Mean(losses);
  score.choices = ScoreChoices(answers, groups, options);
  return score;
}

Comparison Compare(const MethodAnswers& a, const MethodAnswers& b, const SourceRows& groups,
                   const ReportOptions& options) {
  Comparison c{.method = a.method, .with = b.method};
  const auto difference = [&](size_t row) {
    return static_cast<double>(a.predictions[row].correct) - static_cast<double>(b.predictions[row].correct);
  };
  const size_t n = a.predictions.size();
  for (size_t row = 0; row < n; ++row) {
    c.gained += difference(row) > 0;
    c.lost += difference(row) < 0;
  }
  c.micro = BootstrapMean({OverAll(n, difference)}, options.bootstrap_samples, options.seed);
  c.macro = BootstrapMean(PerSource(groups, difference), options.bootstrap_samples, options.seed);
  if (!a.losses.empty() && !b.losses.empty()) {
    const auto loss_difference = [&](size_t row) { return a.losses[row] - b.losses[row]; };
    const auto differences = OverAll(n, loss_difference);
    if (!differences.empty()) c.loss = BootstrapMean({differences}, options.bootstrap_samples, options.seed);
  }
  CompareChoices(a, b, groups, options, c);
  return c;
}

// ---- JSON ----

Json IntervalJson(const Interval& interval) { return Json::array({interval.low, interval.high}); }

Json CellJson(const ScoreCell& cell) {
  return {{"n", cell.n},
          {"correct", cell.correct},
          {"exact_match", cell.accuracy},
          {"interval_95", IntervalJson(cell.interval)}};
}

Json EstimateJson(const Estimate& estimate) {
  return {{"mean", estimate.mean}, {"interval_95", IntervalJson(estimate.interval)}};
}

Json ChoicesJson(const ChoiceScore& score) {
  const auto cell = [](const ScoreCell& c) {
    return Json{{"n", c.n}, {"correct", c.correct}, {"accuracy", c.accuracy}, {"interval_95", IntervalJson(c.interval)}};
  };
  Json json;
  for (const auto& [source, of_source] : score.by_source) json["sources"][source] = cell(of_source);
  json["micro"] = cell(score.micro);
  json["macro"] = EstimateJson(score.macro);
  json["accuracy_per_token"] = score.per_token;
  json["accuracy_per_character"] = score.per_character;
  json["loss_nats"] = score.loss;
  return json;
}

// ---- Text ----

std::string Percent(double mean, const Interval& interval) {
  return fmt::format("{:5.1f} [{:4.1f}, {:5.1f}]", 100 * mean, 100 * interval.low, 100 * interval.high);
}

std::string ScoreTable(const EvalReport& report) {
  std::vector<std::vector<std::string>> table = {{"source", "n"}};
  for (const MethodScore& score : report.scores) table[0].push_back(score.method);
  const auto add = [&](const std::string& name, int64_t n, auto cell_of) {
    table.push_back({name, FormatCount(n)});
    for (const MethodScore& score : report.scores) table.back().push_back(cell_of(score));
  };
  for (size_t s = 0; s < report.sources.size(); ++s) {
    add(report.sources[s], report.scores[0].by_source[s].n, [&](const MethodScore& score) {
      return Percent(score.by_source[s].accuracy, score.by_source[s].interval);
    });
  }
  add("all rows", report.num_rows,
      [](const MethodScore& score) { return Percent(score.micro.accuracy, score.micro.interval); });
  add("mean of sources", report.num_rows,
      [](const MethodScore& score) { return Percent(score.macro.mean, score.macro.interval); });
  if (report.scores[0].loss) {
    add("loss, nats/token", report.num_rows,
        [](const MethodScore& score) { return score.loss ? fmt::format("{:.4f}", *score.loss) : "-"; });
  }
  return FormatTable(table);
}

std::string ChoiceTable(const EvalReport& report) {
  const ChoiceScore& first = *report.scores[0].choices;
  std::vector<std::vector<std::string>> table = {{"source", "n"}};
  for (const MethodScore& score : report.scores) table[0].push_back(score.method);
  const auto add = [&](const std::string& name, int64_t n, auto cell_of) {
    table.push_back({name, FormatCount(n)});
    for (const MethodScore& score : report.scores) table.back().push_back(cell_of(*score.choices));
  };
  const auto plain = [](double share) { return fmt::format("{:5.1f}", 100 * share); };
  for (const auto& [source, cell] : first.by_source) {
    add(source, cell.n, [&](const ChoiceScore& s) {
      return Percent(s.by_source.at(source).accuracy, s.by_source.at(source).interval);
    });
  }
  const int64_t n = first.micro.n;
  add("all rows", n, [](const ChoiceScore& s) { return Percent(s.micro.accuracy, s.micro.interval); });
  add("mean of sources", n, [](const ChoiceScore& s) { return Percent(s.macro.mean, s.macro.interval); });
  add("all, per token", n, [&](const ChoiceScore& s) { return plain(s.per_token); });
  add("all, per character", n, [&](const ChoiceScore& s) { return plain(s.per_character); });
  add("loss, nats/choice", n, [](const ChoiceScore& s) { return fmt::format("{:.4f}", s.loss); });
  return FormatTable(table);
}

std::string ComparisonTable(const EvalReport& report) {
  std::vector<std::vector<std::string>> table = {
      {"difference, points", "all rows", "mean of sources", "rows gained", "lost"}};
  const bool with_loss = report.comparisons[0].loss.has_value();
  if (with_loss) table[0].push_back("loss, nats/token");
  const bool with_choices = report.comparisons[0].choice_macro.has_value();
  if (with_choices) table[0].insert(table[0].end(), {"likelihood, mean of sources", "nats/choice"});
  const auto points = [](const Estimate& e) {
    return fmt::format("{:+.1f} [{:+.1f}, {:+.1f}]", 100 * e.mean, 100 * e.interval.low,
                       100 * e.interval.high);
  };
  const auto nats = [](const Estimate& e) {
    return fmt::format("{:+.4f} [{:+.4f}, {:+.4f}]", e.mean, e.interval.low, e.interval.high);
  };
  for (const Comparison& c : report.comparisons) {
    table.push_back({c.method + " - " + c.with, points(c.micro), points(c.macro), FormatCount(c.gained),
                     FormatCount(c.lost)});
    if (with_loss) table.back().push_back(c.loss ? nats(*c.loss) : "-");
    if (with_choices) table.back().insert(table.back().end(), {points(*c.choice_macro), nats(*c.choice_loss)});
  }
  return FormatTable(table);
}

}  // namespace

EvalReport SummariseAnswers(const std::vector<MethodAnswers>& methods, const ReportOptions& options) {
  EvalReport report;
  const SourceRows groups = GroupBySource(methods[0].predictions);
  report.sources = groups.names;
  report.num_rows = static_cast<int64_t>(methods[0].predictions.size());
  for (const Prediction& p : methods[0].predictions) report.num_over_long += p.finish_reason == "over_long";
  for (const MethodAnswers& answers : methods) {
    report.scores.push_back(ScoreMethod(answers, groups, options));
    const auto other = std::find_if(methods.begin(), methods.end(), [&](const MethodAnswers& candidate) {
      return candidate.method == answers.compare_with;
    });
    if (other != methods.end()) report.comparisons.push_back(Compare(answers, *other, groups, options));
  }
  return report;
}

Json ReportJson(const EvalReport& report) {
  Json json = {{"format_version", 1}, {"rows", report.num_rows}, {"over_long", report.num_over_long}};
  for (const MethodScore& score : report.scores) {
    Json& method = json["methods"][score.method];
    for (size_t s = 0; s < report.sources.size(); ++s) {
      method["sources"][report.sources[s]] = CellJson(score.by_source[s]);
    }
    method["micro"] = CellJson(score.micro);
    method["macro"] = EstimateJson(score.macro);
    if (score.loss) method["loss_nats_per_token"] = *score.loss;
    if (score.choices) method["choices"] = ChoicesJson(*score.choices);
  }
  json["comparisons"] = Json::array();
  for (const Comparison& c : report.comparisons) {
    Json entry = {{"method", c.method},
                  {"with", c.with},
                  {"gained", c.gained},
                  {"lost", c.lost},
                  {"micro", EstimateJson(c.micro)},
                  {"macro", EstimateJson(c.macro)}};
    if (c.loss) entry["loss_nats_per_token"] = EstimateJson(*c.loss);
    if (c.choice_macro) entry["choices"] = {{"macro", EstimateJson(*c.choice_macro)}, {"loss_nats", EstimateJson(*c.choice_loss)}};
    json["comparisons"].push_back(entry);
  }
  if (!report.examples.empty()) json["worked_examples"] = ExampleUseJson(report.examples);
  return json;
}

std::string ReportText(const EvalReport& report) {
  std::string text = fmt::format("Exact match in per cent on {} held-out rows, with 95% intervals\n\n",
                                 FormatCount(report.num_rows));
  text += ScoreTable(report);
  if (report.scores[0].choices) {
    text += "\nLikeliest choice in per cent, by the log-probability of the choice's tokens unless said otherwise\n\n" +
            ChoiceTable(report);
  }
  if (!report.comparisons.empty()) {
    text += "\nPaired differences on the same rows (bootstrap, 95%)\n\n" + ComparisonTable(report);
  }
  if (report.num_over_long > 0) {
    text += fmt::format("\n{} rows have a prompt longer than the model's context; they count as wrong.\n",
                        FormatCount(report.num_over_long));
  }
  if (!report.examples.empty()) {
    text += "\nWorked examples, dropped until the prompt fits\n\n" + ExampleUseText(report.examples);
  }
  return text;
}

}  // namespace elrea
