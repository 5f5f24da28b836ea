// elrea data: rows from public data sets, a check of one's own files, and the data stage of a run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>

#include "cli/backbone.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/run_data.h"
#include "core/error.h"
#include "core/temp_dir.h"
#include "core/text.h"
#include "data/answer.h"
#include "data/import.h"
#include "data/records.h"
#include "model/fetch.h"

namespace elrea {
namespace {

void PrintFile(const fs::path& path) {
  const MappedFile file(path);
  std::fwrite(file.bytes().data(), 1, file.bytes().size(), stdout);
}

void AddImport(CLI::App& data, Invocation& invocation) {
  struct Flags {
    std::string kind, path, output;
    ImportOptions options;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      data.add_subcommand("import", "turn a public data set into JSONL rows for training and eval");
  command->add_option("KIND", flags->kind, "one of " + Join(ImportKinds(), ", "))->required();
  command->add_option("FILE", flags->path, "the data set's own file, or a folder of them")->required();
  command->add_option("--output", flags->output, "the JSONL file to write (default: standard output)")
      ->type_name("FILE");
  command->add_option("--limit", flags->options.limit, "rows written at most")->check(CLI::NonNegativeNumber);
  command->add_option("--few-shot", flags->options.few_shot, "mmlu, bbh: worked examples given with each question")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--examples", flags->options.examples,
                   "mmlu: file or folder the examples come from (default: the first rows of each subject, which "
                   "are then left out)")
      ->type_name("FILE");
  command->add_option("--source", flags->options.source, "name of the source, instead of the kind's own");
  command->callback([&invocation, flags] {
    invocation.action = [flags] {
      const TempDir scratch;
      const fs::path output = flags->output.empty() ? scratch / "rows.jsonl" : fs::path(flags->output);
      const DataLedger ledger = ImportDataset(flags->kind, flags->path, output, flags->options);
      std::fputs(ledger.ToTable().c_str(), flags->output.empty() ? stderr : stdout);
      if (flags->output.empty()) PrintFile(output);
    };
  });
}

void AddCheck(CLI::App& data, Invocation& invocation) {
  struct Flags {
    ModelFlags model;
    std::vector<std::string> files;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      data.add_subcommand("check", "read training files as a run would, and count what became of each row");
  AddModelFlags(*command, flags->model);
  command->get_option("--model")->required();
  command->add_option("FILES", flags->files, "JSONL files")->required();
  command->add_flag("--json", flags->json, "the ledger as JSON, with the lines that were left out");
  command->callback([&invocation, flags] {
    invocation.action = [flags] {
      const PipelineConfig config = LoadConfig({}, flags->model.AsOverrides());
      const auto tokenizer = Tokenizer::Load(ResolveModel(config.model.path));
      DatasetOptions options = config.data.train;
      options.files = flags->files;
      const DataLedger ledger = TokeniseFiles(options, *tokenizer, ChatTemplate::For(*tokenizer, options.chat_template),
                                              [](const ExampleRecord&, auto, int64_t) {});
      std::printf("%s", flags->json ? (JsonLine(ledger.ToJson()) + "\n").c_str() : ledger.ToTable().c_str());
    };
  });
}

struct MatchCounts {
  int64_t rows = 0, strict = 0, flexible = 0;
};

// Answers in `file`, found and compared again. With `json` a line for each, else a table at the end.
void MatchAnswers(const std::string& file, const std::string& style_name, bool json) {
  const AnswerStyle style = ParseAnswerStyle(style_name);
  std::map<std::string, MatchCounts> sources;
  MatchCounts all;
  ForEachRow(file, [&](int64_t number, std::string_view line) {
    const std::string origin = fmt::format("{}:{}", file, number);
    const Json row = ParseJson(line, origin);
    const auto response = JsonField<std::string>(row, "response", origin), gold = JsonField<std::string>(row, "gold", origin);
    const bool strict = ResponseMatches(response, gold, style, AnswerMatching::kStrict);
    const bool flexible = ResponseMatches(response, gold, style, AnswerMatching::kFlexible);
    for (MatchCounts* counts : {&all, &sources[JsonFieldOr<std::string>(row, "source", "", origin)]}) {
      ++counts->rows;
      counts->strict += strict;
      counts->flexible += flexible;
    }
    if (json) {
      std::printf("%s\n", JsonLine({{"gold", gold},
                                    {"answer", ExtractAnswer(response, style).value_or("")},
                                    {"strict", strict},
                                    {"flexible", flexible}})
                              .c_str());
    }
  });
  if (all.rows == 0) throw Error(ErrorKind::kInvalidInput, file + " is empty: expected rows of {\"response\", \"gold\"}");
  if (json) return;
  std::vector<std::vector<std::string>> table = {{"source", "rows", "strict, %", "flexible, %"}};
  const auto add = [&](const std::string& name, const MatchCounts& c) {
    const auto percent = [&](int64_t count) {
      return fmt::format("{:.1f}", 100.0 * static_cast<double>(count) / static_cast<double>(c.rows));
    };
    table.push_back({name, FormatCount(c.rows), percent(c.strict), percent(c.flexible)});
  };
  for (const auto& [source, counts] : sources) add(source, counts);
  add("all rows", all);
  std::fputs(FormatTable(table).c_str(), stdout);
}

void AddMatch(CLI::App& data, Invocation& invocation) {
  struct Flags {
    std::string file, style = "auto";
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = data.add_subcommand(
      "match", "find and compare the answers of given responses, such as METHOD.jsonl of an evaluation, again");
  command->add_option("FILE", flags->file, "JSONL with \"response\" and \"gold\"")->required();
  command->add_option("--answer-style", flags->style, "one of " + Join(AnswerStyleNames(), ", "));
  command->add_flag("--json", flags->json, "{\"gold\", \"answer\", \"strict\", \"flexible\"} for each row");
  command->callback([&invocation, flags] {
    invocation.action = [flags] { MatchAnswers(flags->file, flags->style, flags->json); };
  });
}

void AddPrepare(CLI::App& data, Invocation& invocation) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* command =
      data.add_subcommand("prepare", "the data stage of a run: usable rows and ledger into DIR/data");
  AddRunFlags(*command, *flags);
  command->callback([&invocation, flags] {
    invocation.action = [flags] { PrepareData(OpenRunForWriting(flags->Request())); };
  });
}

}  // namespace

void AddDataCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      app.add_subcommand("data", "import public data sets, check files, compare answers, prepare a run's rows");
  command->require_subcommand(1);
  AddImport(*command, invocation);
  AddCheck(*command, invocation);
  AddMatch(*command, invocation);
  AddPrepare(*command, invocation);
}

}  // namespace elrea
