// Encoding text with a tokenizer, one thread, a fresh tokenizer each round, so that nothing is remembered
// from before:
//   encode     megabytes of text a second, the median of the rounds
// Where ELREA_PEER_PYTHON names an interpreter with `tokenizers` and `sentencepiece`,
// bench/peers/tokenize_text.py encodes the same lines in turns with ours, with whichever of the two reads the
// file, and another number of tokens ends the program with status 1.
//   tokenizer_bench --model DIR/tokenizer.model --input text.txt
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "bench/bench_support.h"
#include "core/error.h"
#include "core/temp_dir.h"
#include "core/text.h"

namespace elrea::bench {
namespace {

struct Case {
  std::string model = PeerScript("../../tests/golden/tokenizer_tiny_unigram.model"), input, json;
  int rounds = 3;
};

// The file's lines that are not empty, as UTF-8.
std::vector<std::string> Lines(const fs::path& input) {
  std::vector<std::string> lines = Split(ReplaceInvalidUtf8(ReadFile(input)), '\n');
  std::erase_if(lines, [](const std::string& line) { return line.empty(); });
  if (lines.empty()) throw Error(ErrorKind::kInvalidInput, input.string() + " has no lines");
  return lines;
}

struct Encoded {
  double seconds;
  int64_t tokens;
};

Encoded Encode(const Case& c, const std::vector<std::string>& lines) {
  const auto tokenizer = Tokenizer::Load(c.model);
  std::vector<std::vector<int32_t>> tokens(lines.size());
  const double begun = NowSeconds();
  for (size_t i = 0; i < lines.size(); ++i) tokens[i] = tokenizer->Encode(lines[i], SpecialTokens::kAsText);
  const double seconds = NowSeconds() - begun;
  int64_t count = 0;
  for (const auto& line : tokens) count += static_cast<int64_t>(line.size());
  return {seconds, count};
}

int Run(Case c) {
  const TempDir folder;
  if (c.input.empty()) {
    c.input = (folder / "problems.jsonl").string();
    WriteWordProblems(c.input, 3000, 1);
  }
  const std::vector<std::string> lines = Lines(c.input);
  double megabytes = 0;
  for (const std::string& line : lines) megabytes += static_cast<double>(line.size()) / 1e6;
  const auto python = PeerPython();
  std::vector<double> ours, peers;
  std::string peer_name;
  for (int round = 0; round < c.rounds; ++round) {
    const Encoded encoded = Encode(c, lines);
    ours.push_back(megabytes / encoded.seconds);
    if (!python) continue;
    const Json peer = RunPeer(*python, PeerScript("tokenize_text.py"),
                              fmt::format("--model '{}' --input '{}'", c.model, c.input), folder.path());
    peers.push_back(megabytes / peer["seconds"].get<double>());
    peer_name = peer["name"].get<std::string>();
    if (peer["tokens"].get<int64_t>() != encoded.tokens) {
      fmt::print(stderr, "{} gives {} tokens, ours are {}\n", peer_name, peer["tokens"].get<int64_t>(),
                 encoded.tokens);
      return 1;
    }
  }
  std::optional<Peer> peer;
  if (!peers.empty()) peer = Peer{peer_name, Median(peers)};
  WriteMeasurements(c.json, Json::array({Measurement("tokenizer encode", "MB/s", Median(ours), peer)}));
  return 0;
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) {
  elrea::bench::Case c;
  CLI::App app("encoding speed of a tokenizer");
  app.add_option("--model", c.model,
                 "a tokenizer.json, a tokenizer.model or a folder with one; default: a tiny unigram model");
  app.add_option("--input", c.input,
                 "a text file; its lines are encoded one by one; default: made-up word problems");
  app.add_option("--rounds", c.rounds, "each with a fresh tokenizer")->check(CLI::PositiveNumber);
  app.add_option("--json", c.json, "write the measurements to this file");
  CLI11_PARSE(app, argc, argv);
  return elrea::bench::RunGuarded([&] { return Run(c); });
}
