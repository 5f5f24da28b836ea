// What a user gets who gives the program something bad: one line that names the culprit and the remedy, the
// exit code of its kind, and no harm to what was there.
#include <gtest/gtest.h>

#include <optional>

#include "tests/tiny_run.h"

namespace elrea {
namespace {

constexpr int kInvalid = 2, kMissing = 3, kCorrupt = 4, kIo = 5;

void ExpectFailure(const ProgramResult& result, int exit_code,
                   std::initializer_list<std::string_view> parts) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  const std::string line = ErrorLine(result);
  for (std::string_view part : parts) {
    EXPECT_NE(line.find(part), std::string::npos) << "\"" << part << "\" is not in: " << result.err;
  }
  EXPECT_EQ(result.out, "");
}

// The tiny model with one file changed.
class BrokenModel {
 public:
  BrokenModel() { fs::copy(TinyModel(), path()); }
  fs::path path() const { return folder_ / "model"; }
  void Truncate(const char* name, size_t num_bytes) const {
    WriteFileAtomically(path() / name, ReadFile(path() / name).substr(0, num_bytes));
  }
  void Replace(const char* name, const std::string& from, const std::string& to) const {
    std::string text = ReadFile(path() / name);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    WriteFileAtomically(path() / name, text.replace(at, from.size(), to));
  }
  ProgramResult Score() const { return RunElrea({"score", "--model", path(), "--text", "hello there"}); }

 private:
  TempDir folder_;
};

TEST(BadModel, Missing) {
  ExpectFailure(RunElrea({"score", "--model", "/nowhere/model.gguf", "--text", "x"}), kMissing,
                {"/nowhere/model.gguf"});
  ExpectFailure(RunElrea({"score", "--text", "x"}), kInvalid, {"--model"});
}

TEST(BadModel, TruncatedSafetensors) {
  const BrokenModel model;
  model.Truncate("model.safetensors", 60000);
  ExpectFailure(model.Score(), kCorrupt, {"model.safetensors"});
}

TEST(BadModel, CorruptSafetensors) {
  const BrokenModel model;
  model.Replace("model.safetensors", "{", "[");
  ExpectFailure(model.Score(), kCorrupt, {"model.safetensors"});
}

TEST(BadModel, TruncatedAndCorruptGguf) {
  const fs::path source = fs::path(ELREA_SOURCE_DIR) / "tests/golden/model_tiny_llama/model.gguf";
  const TempDir folder;
  const fs::path gguf = folder / "m.gguf";
  const std::string bytes = ReadFile(source);
  WriteFileAtomically(gguf, bytes.substr(0, bytes.size() / 2));
  ExpectFailure(RunElrea({"model", "info", gguf}), kCorrupt, {"m.gguf"});
  WriteFileAtomically(gguf, "GGML" + bytes.substr(4));
  ExpectFailure(RunElrea({"model", "info", gguf}), kCorrupt, {"m.gguf"});
}

TEST(BadModel, Pickles) {
  const TempDir folder;
  for (const char* name : {"model.pt", "pytorch_model.bin", "consolidated.00.pth"}) {
    WriteFileAtomically(folder / name, "\x80\x02}q");
    ExpectFailure(RunElrea({"score", "--model", folder / name, "--text", "x"}), kInvalid,
                  {name, "Python pickle", "save_pretrained"});
  }
  ExpectFailure(RunElrea({"adapter", "info", folder / "model.pt", "--model", TinyModel()}), kInvalid,
                {"model.pt", "Python pickle", "save_file"});
}

TEST(BadModel, Tokenizer) {
  const BrokenModel model;
  model.Truncate("tokenizer.json", 2000);
  ExpectFailure(model.Score(), kCorrupt, {"tokenizer.json"});
  fs::remove(model.path() / "tokenizer.json");
  ExpectFailure(model.Score(), kMissing, {"tokenizer.json"});
}

TEST(BadModel, UnsupportedArchitecture) {
  const BrokenModel model;
  model.Replace("config.json", "LlamaForCausalLM", "MambaForCausalLM");
  ExpectFailure(model.Score(), kInvalid, {"MambaForCausalLM"});
}

TEST(BadModel, UnknownChatTemplateSaysHowToChooseOne) {
  const BrokenModel model;
  Json settings = ReadJsonFile(model.path() / "tokenizer_config.json");
  settings["chat_template"] = "[[{{ messages[0].content }}]]\n{% include 'more' %}";
  WriteJsonFile(model.path() / "tokenizer_config.json", settings);
  ExpectFailure(RunElrea({"generate", "--model", model.path(), "--prompt", "x"}), kInvalid,
                {"chat template, line 2, column 4", "include", "chatml"});
}

class BadRun : public testing::Test {
 protected:
  TinyRun tiny_;
};

TEST_F(BadRun, ConfigFaultsComeTogether) {
  WriteFileAtomically(tiny_.config(), tiny_.Yaml() + "finetine: {epochs: 1}\nrouting: {temperature: warm}\n");
  ExpectFailure(tiny_.Go({"--set", "lora.rnak=4"}), kInvalid,
                {"finetine", "routing.temperature", "warm", "lora.rnak", "did you mean lora.rank"});
  EXPECT_FALSE(fs::exists(tiny_.run()));
}

TEST_F(BadRun, DataFiles) {
  ExpectFailure(tiny_.Go({"--set", "data.files=[/nowhere/rows.jsonl]"}), kMissing, {"/nowhere/rows.jsonl"});
  WriteFileAtomically(tiny_.train(), "");
  ExpectFailure(tiny_.Go(), kInvalid, {"train.jsonl", "empty"});
}

TEST_F(BadRun, WrongTypesAreNamedByLine) {
  WriteFileAtomically(tiny_.train(), "{\"instruction\": 5, \"output\": \"x\"}\n{\"instruction\": \"a\"}\n");
  ExpectFailure(tiny_.Go(), kInvalid, {"train.jsonl", "train.jsonl:1", "'instruction'"});
}

TEST_F(BadRun, OneBadLineIsCountedNotFatal) {
  WriteFileAtomically(tiny_.train(), ReadFile(tiny_.train()) + "{\"instruction\": \n");
  const ProgramResult result = RunElrea({"data", "check", "--model", TinyModel(), tiny_.train(), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json ledger = JsonLines(result.out).at(0);
  EXPECT_EQ(ledger["kept"], 48);
  EXPECT_EQ(ledger["malformed"], 1);
  EXPECT_EQ(ledger["lines"][0]["line"], 49);
}

TEST_F(BadRun, OverLongRowsAreCounted) {
  std::string words;
  for (int i = 0; i < 2100; ++i) words += "word ";
  const std::string line = JsonLine({{"instruction", words}, {"output", "x"}}) + "\n";
  WriteFileAtomically(tiny_.train(), line);
  ExpectFailure(tiny_.Go(), kInvalid, {"train.jsonl", "1 over_long"});
  WriteFileAtomically(tiny_.train(), TinyRows(4, 0) + line);
  const ProgramResult result = RunElrea({"data", "check", "--model", TinyModel(), tiny_.train(), "--json"});
  EXPECT_EQ(JsonLines(result.out).at(0)["over_long"], 1) << result.err;
}

TEST_F(BadRun, FewerRowsThanClusters) {
  WriteFileAtomically(tiny_.train(), TinyRows(3, 0));
  const ProgramResult result = tiny_.Go({"--set", "cluster.birch.num_clusters=5"});
  ExpectFailure(result, kInvalid, {"3", "5", "cluster"});
}

TEST_F(BadRun, DivergingLossNamesTheStepAndTheRemedy) {
  const ProgramResult result = tiny_.Go({"--set", "finetune.learning_rate=1e30"});
  ExpectFailure(result, kInvalid, {"step", "learning_rate"});
}

TEST_F(BadRun, NoPermission) {
  fs::path place = "/sys/elrea-run";  // refused even to root
  ExpectFailure(tiny_.GoInto(place), kIo, {"/sys/elrea-run"});
}

TEST_F(BadRun, FolderOfSomethingElse) {
  WriteFileAtomically(tiny_.run() / "thesis.txt", "mine");
  ExpectFailure(tiny_.Go(), kInvalid, {"not empty", "thesis.txt"});
  EXPECT_EQ(ReadFile(tiny_.run() / "thesis.txt"), "mine");
}

class BadQuestion : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    tiny_.emplace();
    const ProgramResult result = tiny_->Go({"--set", "eval.methods=[base]", "--set", "eval.loss=false"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    files_ = ResultFiles(tiny_->run());
  }
  static void TearDownTestSuite() { tiny_.reset(); }
  void TearDown() override {
    EXPECT_EQ(ResultFiles(tiny_->run()), files_) << "a refused command changed the run";
  }

  static inline std::optional<TinyRun> tiny_;
  static inline std::map<std::string, std::string> files_;
};

TEST_F(BadQuestion, RunOfOtherSettings) {
  ExpectFailure(tiny_->Go({"--set", "lora.rank=8", "--set", "finetune.seed=3"}), kInvalid,
                {"lora.rank (there 4, here 8)", "finetune.seed (there 0, here 3)"});
}

TEST_F(BadQuestion, RunOfAnotherBackboneAndTokenizer) {
  const BrokenModel other;
  std::string bytes = ReadFile(other.path() / "model.safetensors");
  bytes[bytes.size() - 2] ^= 1;
  WriteFileAtomically(other.path() / "model.safetensors", bytes);
  ExpectFailure(tiny_->Go({"--set", "model.path=" + other.path().string()}), kInvalid, {"backbone (there"});
  ExpectFailure(RunElrea({"generate", "--model", other.path(), "--dtype", "f32", "--adapter",
                          tiny_->run() / "base", "--prompt", "x"}),
                kInvalid, {"base", "backbone"});
}

TEST_F(BadQuestion, RunOfOtherData) {
  const std::string before = ReadFile(tiny_->train());
  WriteFileAtomically(tiny_->train(), before + TinyRows(1, 99));
  ExpectFailure(tiny_->Go(), kInvalid, {"data.files"});
  WriteFileAtomically(tiny_->train(), before);
}

TEST_F(BadQuestion, TwoProcesses) {
  const DirectoryLock lock(tiny_->run());
  ExpectFailure(tiny_->Go(), kInvalid, {"in use"});
}

TEST_F(BadQuestion, PromptLongerThanTheContext) {
  std::string words;
  for (int i = 0; i < 400; ++i) words += "word ";
  ExpectFailure(RunElrea({"generate", "--run", tiny_->run(), "--method", "base", "--prompt", words}),
                kInvalid, {"context", "256"});
  ExpectFailure(RunElrea({"generate", "--run", tiny_->run(), "--prompt", words}), kInvalid,
                {"context", "256"});
}

TEST_F(BadQuestion, UnknownNames) {
  ExpectFailure(RunElrea({"generate", "--run", tiny_->run(), "--method", "ensembel", "--prompt", "x"}),
                kInvalid, {"ensembel", "did you mean ensemble"});
  ExpectFailure(RunElrea({"generate", "--run", tiny_->run() / "no", "--prompt", "x"}), kMissing,
                {"holds no run", "elrea run"});
  ExpectFailure(
      RunElrea({"generate", "--run", tiny_->run(), "--set", "generation.temprature=1", "--prompt", "x"}),
      kInvalid, {"generation.temprature", "generation.temperature"});
  ExpectFailure(RunElrea({"frobnicate"}), kInvalid, {"--help"});
}

TEST_F(BadQuestion, DamagedArtifacts) {
  for (const char* name : {"base/adapter_model.safetensors", "experts/0/adapter_model.safetensors"}) {
    const fs::path path = tiny_->run() / name;
    const std::string before = ReadFile(path);
    std::string damaged = before;
    damaged[damaged.size() / 2] ^= 1;
    WriteFileAtomically(path, damaged);
    ExpectFailure(RunElrea({"generate", "--run", tiny_->run(), "--prompt", "x"}), kCorrupt, {name});
    WriteFileAtomically(path, before);
  }
  const fs::path rows = tiny_->run() / "data/train.jsonl";
  const std::string before = ReadFile(rows);
  WriteFileAtomically(rows, before + before.substr(0, before.find('\n') + 1));
  ExpectFailure(RunElrea({"features", "--run", tiny_->run()}), kCorrupt, {"train.jsonl"});
  WriteFileAtomically(rows, before);
  const fs::path finetune = tiny_->run() / "base/finetune.json", eval = tiny_->run() / "eval/eval.json";
  const std::string job = ReadFile(finetune), methods = ReadFile(eval);
  WriteFileAtomically(finetune, "[]");
  ExpectFailure(RunElrea({"inspect", tiny_->run()}), kCorrupt, {"finetune.json"});
  WriteFileAtomically(finetune, job);
  Json manifest = ParseJson(methods, "eval.json");
  manifest["methods"] = Json::array({"base"});
  WriteJsonFile(eval, manifest);
  ExpectFailure(RunElrea({"eval", "--run", tiny_->run(), "--method", "base"}), kCorrupt, {"eval.json", "methods"});
  WriteFileAtomically(eval, methods);
}

TEST_F(BadQuestion, EvalOfUnusableRows) {
  const fs::path rows = tiny_->folder() / "prompts.jsonl";
  WriteFileAtomically(rows, "{\"prompt\": \"no answer here\"}\n");
  ExpectFailure(RunElrea({"eval", "--run", tiny_->run(), "--method", "base", "--input", rows}), kInvalid,
                {"prompts.jsonl", "answer"});
}

TEST(BadStage, NamesTheStageThatIsMissing) {
  const TinyRun tiny;
  ASSERT_EQ(RunElrea({"data", "prepare", "--config", tiny.config(), "--run", tiny.run()}).exit_code, 0);
  ExpectFailure(RunElrea({"features", "--run", tiny.run()}), kMissing, {"elrea train"});
  ExpectFailure(RunElrea({"cluster", "--run", tiny.run()}), kMissing, {"elrea features"});
  ExpectFailure(RunElrea({"experts", "--run", tiny.run()}), kMissing, {"elrea"});
  ExpectFailure(RunElrea({"generate", "--run", tiny.run(), "--prompt", "x"}), kMissing, {"elrea"});
  const ProgramResult inspect = RunElrea({"inspect", tiny.run()});
  EXPECT_EQ(inspect.exit_code, 0);
  EXPECT_NE(inspect.out.find("missing"), std::string::npos) << inspect.out;
}

}  // namespace
}  // namespace elrea
