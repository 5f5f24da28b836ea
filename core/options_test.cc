#include "core/options.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "core/expect_error.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

// Not through AtomicFile, and not over an old file: both wait for the disk, thousands of times here.
void WriteRaw(const fs::path& path, const std::string& bytes) {
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

struct BirchOptions {
  int64_t num_clusters = 5;
  double threshold = 0.5;
  std::string linkage = "ward";
};
template <typename Visitor>
void VisitOptions(BirchOptions& o, Visitor& v) {
  v.Field("num_clusters", o.num_clusters, "clusters per call", AtLeast(1));
  v.Field("threshold", o.threshold, "radius of a leaf", Above(0));
  v.Field("linkage", o.linkage, "how subclusters are joined", OneOf({"ward", "average"}));
}

struct RunOptions {
  bool center = false;
  BirchOptions birch;
  std::string prompt = "";
  std::vector<std::string> files = {"a.jsonl"};
  std::vector<int64_t> ranks;
  double dropout = 0.1;
  double momentum = 0.9;
};
template <typename Visitor>
void VisitOptions(RunOptions& o, Visitor& v) {
  v.Field("center", o.center, "subtract the mean");
  v.Section("birch", o.birch);
  v.Field("prompt", o.prompt, "text");
  v.Field("files", o.files, "training rows");
  v.Field("ranks", o.ranks, "ranks to try");
  v.Field("dropout", o.dropout, "dropped fraction", FromUpTo(0, 1));
  v.Field("momentum", o.momentum, "decay", Between(0, 1));
}

class OptionsTest : public testing::Test {
 protected:
  void Load(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    WriteRaw(path_, yaml);
    OptionSet(options_).Load(path_, overrides);
  }
  std::string ExpectFault(std::initializer_list<std::string_view> parts, const std::string& yaml,
                          const std::vector<std::string>& overrides = {}) {
    return ExpectError(ErrorKind::kInvalidInput, parts, [&] { Load(yaml, overrides); });
  }

  TempDir dir_;
  const fs::path path_ = dir_ / "run.yaml";
  RunOptions options_;
};

TEST_F(OptionsTest, YamlSetsWhatItNamesAndLeavesTheRest) {
  Load(
      "center: true\nbirch:\n  threshold: 1e-3  # comment\nfiles: [x, y]\nranks:\n  - 8\n  - 64\nprompt: "
      "\"a: b\"\n");
  EXPECT_TRUE(options_.center);
  EXPECT_EQ(options_.birch.threshold, 1e-3);
  EXPECT_EQ(options_.birch.num_clusters, 5);
  EXPECT_EQ(options_.files, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(options_.ranks, (std::vector<int64_t>{8, 64}));
  EXPECT_EQ(options_.prompt, "a: b");
}

TEST_F(OptionsTest, JsonIsYaml) {
  Load(
      R"({"center": true, "birch": {"num_clusters": 9, "linkage": "average"}, "files": [], "prompt": "x\ny"})");
  EXPECT_EQ(options_.birch.num_clusters, 9);
  EXPECT_EQ(options_.birch.linkage, "average");
  EXPECT_TRUE(options_.files.empty());
  EXPECT_EQ(options_.prompt, "x\ny");
}

TEST_F(OptionsTest, EmptyFileAndEmptyPathKeepDefaults) {
  Load("");
  Load("# nothing\n");
  Load("birch:\n");
  OptionSet(options_).Load("", {});
  EXPECT_EQ(options_.birch.num_clusters, 5);
}

TEST_F(OptionsTest, OverridesWinInTheirOrder) {
  Load("birch: {num_clusters: 7}\n", {"birch.num_clusters=8", "birch.num_clusters = 9", "prompt=a = b: [c",
                                      "center=true", "ranks=1, 2", "files=[u, v]"});
  EXPECT_EQ(options_.birch.num_clusters, 9);
  EXPECT_EQ(options_.prompt, "a = b: [c");
  EXPECT_TRUE(options_.center);
  EXPECT_EQ(options_.ranks, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(options_.files, (std::vector<std::string>{"u", "v"}));
  Load("", {"files=", "prompt="});
  EXPECT_TRUE(options_.files.empty());
  EXPECT_EQ(options_.prompt, "");
}

TEST_F(OptionsTest, AllFaultsComeTogetherWithTheirPlaces) {
  const std::string text =
      ExpectFault({"7 faults", "run.yaml:1: unknown option centre; did you mean center?",
                   "run.yaml:3: birch.num_clusters must be at least 1, not 0",
                   "run.yaml:4: unknown option birch.treshold; did you mean birch.threshold?",
                   "did you mean birch.threshold?",
                   "run.yaml:5: files must be a list of strings, as [a, b], not \"a.jsonl\"",
                   "run.yaml:6: dropout must be at least 0 and below 1, not 1",
                   "--set momentum=fast: momentum must be a number, as 0.5, not \"fast\"",
                   "--set threshold=1: unknown option threshold; did you mean birch.threshold?"},
                  "centre: true\nbirch:\n  num_clusters: 0\n  treshold: 1\nfiles: a.jsonl\ndropout: 1\n",
                  {"momentum=fast", "threshold=1"});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 7);
}

TEST_F(OptionsTest, AFaultChangesNothing) {
  ExpectFault({"dropout"}, "center: true\nbirch: {num_clusters: 7}\ndropout: 3\n", {"prompt=x"});
  EXPECT_FALSE(options_.center);
  EXPECT_EQ(options_.birch.num_clusters, 5);
  EXPECT_EQ(options_.prompt, "");
}

TEST_F(OptionsTest, OneFaultIsOneLine) {
  const std::string text =
      ExpectFault({"run.yaml:1: center must be true or false, as true, not \"yes\""}, "center: yes\n");
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST_F(OptionsTest, WrongTypes) {
  ExpectFault({"birch.num_clusters must be an integer", "\"2.5\""}, "birch: {num_clusters: 2.5}\n");
  ExpectFault({"birch.num_clusters must be an integer"}, "birch: {num_clusters: 99999999999999999999}\n");
  ExpectFault({"birch.num_clusters must be an integer", "quoted"}, "birch: {num_clusters: \"5\"}\n");
  ExpectFault({"birch.num_clusters", "empty"}, "birch: {num_clusters: }\n");
  ExpectFault({"birch.num_clusters", "a list"}, "birch: {num_clusters: [1]}\n");
  ExpectFault({"dropout must be a number"}, "dropout: nan\n");
  ExpectFault({"dropout must be a number"}, "dropout: inf\n");
  ExpectFault({"dropout must be a number"}, "dropout: 0.5x\n");
  ExpectFault({"prompt must be a string", "a section"}, "prompt: {a: b}\n");
  ExpectFault({"ranks must be a list of integers"}, "ranks: [1, x]\n");
  ExpectFault({"ranks must be a list of integers"}, "ranks: [1, [2]]\n");
  ExpectFault({"birch is a section"}, "birch: 5\n");
  ExpectFault({"birch is a section"}, "", {"birch=5"});
  ExpectFault({"write it as section.name=value"}, "", {"center"});
  ExpectFault({"write it as section.name=value"}, "", {"=1"});
  ExpectFault({"ranks must be a list"}, "", {"ranks=[1"});
}

TEST_F(OptionsTest, Ranges) {
  ExpectFault({"birch.threshold must be above 0, not 0"}, "birch: {threshold: 0}\n");
  ExpectFault({"momentum must be at least 0 and at most 1, not 1.5"}, "momentum: 1.5\n");
  ExpectFault({"birch.linkage must be one of ward, average, not \"wards\"; did you mean ward?"},
              "birch: {linkage: wards}\n");
  Load("momentum: 1\ndropout: 0\nbirch: {num_clusters: +1, threshold: 1e-9}\n");
  EXPECT_EQ(options_.momentum, 1.0);
  EXPECT_EQ(options_.birch.num_clusters, 1);
}

TEST_F(OptionsTest, BrokenAndHostileYaml) {
  ExpectFault({"run.yaml:2", "not valid YAML"}, "center: true\n  bad: [\n");
  ExpectFault({"run.yaml:1"}, "- a\n- b\n");
  ExpectFault({"run.yaml:2: center was already set on line 1"}, "center: true\ncenter: false\n");
  ExpectFault({"run.yaml:3: birch.threshold was already set on line 2"},
              "birch:\n  threshold: 1\n  threshold: 2\n");
  ExpectFault({"plain word"}, "[a]: 1\n");
  ExpectFault({"run.yaml"}, std::string(100'000, '['));
  ExpectFault({"larger than"}, std::string(2 << 20, ' '));
  ExpectFault({"unknown option loop"}, "loop: &l\n  again: *l\n");
  ExpectError(ErrorKind::kNotFound, {"none.yaml"}, [&] { OptionSet(options_).Load(dir_ / "none.yaml", {}); });
}

TEST_F(OptionsTest, YamlRoundTripKeepsEveryValue) {
  options_.center = true;
  options_.birch.threshold = 0.1 + 0.2;
  options_.birch.num_clusters = INT64_MAX;
  options_.prompt = "tab\t \"quotes\" \\ é # no comment\nnew line: {x}";
  options_.files = {"a, b", "- c", "", "null", "5"};
  options_.ranks = {-1, 0};
  options_.momentum = 1.0;
  const std::string yaml = OptionSet(options_).ToYaml();
  const Json expected = OptionSet(options_).ToJson();
  options_ = RunOptions();
  Load(yaml);
  EXPECT_EQ(OptionSet(options_).ToJson(), expected) << yaml;
  EXPECT_EQ(options_.birch.threshold, 0.1 + 0.2);
  EXPECT_NE(yaml.find("  # radius of a leaf (number, above 0)\n  threshold: 0.30000000000000004\n"),
            std::string::npos)
      << yaml;
}

TEST_F(OptionsTest, JsonIsNestedBySection) {
  EXPECT_EQ(JsonLine(OptionSet(options_).ToJson()),
            "{\"center\":false,\"birch\":{\"num_clusters\":5,\"threshold\":0.5,\"linkage\":\"ward\"},"
            "\"prompt\":\"\","
            "\"files\":[\"a.jsonl\"],\"ranks\":[],\"dropout\":0.1,\"momentum\":0.9}");
}

TEST_F(OptionsTest, HelpNamesTypeRangeAndDefault) {
  const std::string help = OptionSet(options_).Help();
  EXPECT_NE(help.find("birch.threshold     radius of a leaf (number, above 0; default 0.5)\n"),
            std::string::npos)
      << help;
  EXPECT_EQ(std::count(help.begin(), help.end(), '\n'), 9);
}

struct TwiceOptions {
  int64_t a = 0, b = 0;
};
template <typename Visitor>
void VisitOptions(TwiceOptions& o, Visitor& v) {
  v.Field("same", o.a, "x");
  v.Field("same", o.b, "y");
}

TEST(OptionVisitorTest, AFieldListedTwiceIsAProgrammersError) {
  TwiceOptions options;
  ExpectError(ErrorKind::kInternal, {"same"}, [&] { OptionSet set(options); });
}

}  // namespace
}  // namespace elrea
