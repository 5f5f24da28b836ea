// What the benchmark programs share: clocks and memory, rows of real text, the machine's limit, the peer's side, and
// the form of a measurement that tools/run_benchmarks joins.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/dataset.h"
#include "lora/adapter.h"
#include "model/decoder.h"

namespace CLI {
class App;
}

namespace elrea::bench {

double NowSeconds();
double Median(std::vector<double> values);  // REQUIRES: not empty

double StatusMib(const std::string& field);  // of /proc/self/status: "VmRSS:", "VmHWM:"
void ResetPeakMemory();                      // VmHWM starts anew from what is resident now

// One entry of a program's --json list. ratio = ours / peer.
struct Peer {
  std::string name;
  double value;
};
Json Measurement(const std::string& name, const char* unit, double ours, const std::optional<Peer>& peer = {},
                 std::optional<double> limit_fraction = {});
// To the file, or one line each to stdout when `path` is empty.
void WriteMeasurements(const std::string& path, const Json& measurements);

// What programs that load a model have alike: --json, --model, --dtype.
struct ModelCase {
  std::string model = "smollm2", dtype = "auto", json_path;
};
void AddModelOptions(CLI::App& app, ModelCase& c);

// The interpreter that ELREA_PEER_PYTHON names, if any.
std::optional<std::string> PeerPython();
// The path of bench/peers/NAME in the source folder.
std::string PeerScript(const std::string& name);
// Runs `python script arguments --output FILE` and returns what it wrote there; warnings and progress bars are not shown.
// kUnavailable when it fails, with the last line it said.
Json RunPeer(const std::string& python, const std::string& script, const std::string& arguments, const fs::path& folder);

// `count` word problems with worked answers, 100 to 350 tokens each with SmolLM2, as JSONL rows {instruction, output}:
// a function of (count, seed) alone.
void WriteWordProblems(const fs::path& path, int64_t count, uint64_t seed);

// Rows of the JSONL file `input` (word problems when empty), the first `count` usable ones.
std::vector<TokenRow> LoadRows(const std::string& input, int64_t count, const Tokenizer& tokenizer,
                               const ChatTemplate& chat);
// {"tokens", "num_prompt"} a line: what a peer reads, so that both sides see the same tokens.
void WriteTokenRows(const fs::path& path, const std::vector<TokenRow>& rows);

using Instructions = std::vector<std::span<const int32_t>>;
Instructions InstructionsOf(const std::vector<TokenRow>& rows);  // valid as long as the rows

// All projections, with the scale that training gives adapters of any rank.
AdapterConfig ConfigOfRank(int64_t rank);
// What metrics.jsonl in a fine-tuning's folder says of each step.
std::vector<Json> StepMetrics(const fs::path& directory);
// Of fine-tuning: forward and input gradient of every weight (4 N), and an adapter's three products both ways.
double FlopPerToken(const Decoder& decoder, const AdapterConfig& config);

// How far two decoders of the same weights agree on the mean loss of rows under an adapter, and its gradient.
struct LossAgreement {
  double loss = 0, reference_loss = 0;
  double difference = 0;  // relative
  double cosine = 0;      // of the gradients
  bool holds() const { return difference <= 2e-3 && cosine >= 0.99; }
};
LossAgreement CompareLosses(const Decoder& decoder, const Decoder& reference, const Adapter& adapter,
                            const std::vector<TokenRow>& rows);
// Of unit features [count, dim], row by row.
double SmallestCosine(const std::vector<float>& a, const std::vector<float>& b, size_t count);

// FLOP/s of the library's product on the model's own shapes with `tokens` rows: the layer's products forward and
// backward, in the decoder's dtype; the median over `repeats` sweeps.
double GemmRate(const Decoder& decoder, int64_t tokens, int repeats = 5);

// The status of a program that has nothing to measure on this machine: tools/run_benchmarks goes on without it.
constexpr int kLeftOut = 77;

// What a program's main does: parses nothing, keeps freed memory as elrea does, turns an Error into a message and a status.
int RunGuarded(const std::function<int()>& body);

}  // namespace elrea::bench
