#include "core/files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "core/expect_error.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

void WriteRaw(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::vector<std::string> Names(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

// Runs `body` in a child process and returns its exit code.
template <typename Body>
int InChild(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 97;  // an exception must not go on into the parent's tests
    try {
      code = body();
    } catch (...) {
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(AtomicFileTest, AppearsWholeOnCommit) {
  TempDir dir;
  const fs::path path = dir / "sub/folder/file";
  AtomicFile file(path);
  file.Write("abc");
  const std::string large(3 << 20, 'x');  // several buffers
  file.Write(large);
  EXPECT_FALSE(fs::exists(path));
  file.Commit();
  EXPECT_EQ(file.num_bytes_written(), 3 + large.size());
  EXPECT_EQ(ReadFile(path), "abc" + large);
  EXPECT_EQ(Names(path.parent_path()), std::vector<std::string>{"file"});
}

TEST(AtomicFileTest, WithoutCommitTheOldFileStays) {
  TempDir dir;
  WriteFileAtomically(dir / "file", "old");
  {
    AtomicFile file(dir / "file");
    file.Write("new");
  }
  EXPECT_EQ(ReadFile(dir / "file"), "old");
  EXPECT_EQ(Names(dir.path()), std::vector<std::string>{"file"});
}

TEST(AtomicFileTest, CommitReplacesAndOnlyOnce) {
  TempDir dir;
  WriteFileAtomically(dir / "file", "a longer old text");
  AtomicFile file(dir / "file");
  file.Write("new");
  file.Commit();
  EXPECT_EQ(ReadFile(dir / "file"), "new");
  ExpectError(ErrorKind::kInternal, {"committed twice"}, [&] { file.Commit(); });
  ExpectError(ErrorKind::kInternal, {"after commit"}, [&] { file.Write("x"); });
}

TEST(AtomicFileTest, TakesOverWhatAKilledWriterLeft) {
  TempDir dir;
  WriteFileAtomically(dir / "file", "old");
  EXPECT_EQ(InChild([&] {
              AtomicFile file(dir / "file");
              file.Write(std::string(3 << 20, 'x'));
              ::kill(::getpid(), SIGKILL);
              return 0;
            }),
            128 + SIGKILL);
  EXPECT_EQ(ReadFile(dir / "file"), "old");
  EXPECT_EQ(Names(dir.path()), (std::vector<std::string>{"file", "file.tmp"}));
  WriteFileAtomically(dir / "file", "new");
  EXPECT_EQ(ReadFile(dir / "file"), "new");
  EXPECT_EQ(Names(dir.path()), std::vector<std::string>{"file"});
}

TEST(AtomicFileTest, ASecondWriterIsRefusedWhileTheFirstLives) {
  TempDir dir;
  AtomicFile first(dir / "file");
  ExpectError(ErrorKind::kUnavailable, {"file.tmp", "another process"},
              [&] { AtomicFile second(dir / "file"); });
  first.Write("first");
  first.Commit();
  EXPECT_EQ(ReadFile(dir / "file"), "first");
}

TEST(AtomicFileTest, FullDiskIsAnErrorAndLeavesTheOldFile) {
  TempDir dir;
  WriteFileAtomically(dir / "file", "old");
  // A limit on file size stands in for a full disk: write() fails in the same place.
  EXPECT_EQ(InChild([&] {
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{1 << 20, 1 << 20};
              ::setrlimit(RLIMIT_FSIZE, &limit);
              try {
                WriteFileAtomically(dir / "file", std::string(4 << 20, 'x'));
              } catch (const Error& error) {
                const bool named =
                    std::string_view(error.what()).find(dir.path().string()) != std::string::npos &&
                    std::string_view(error.what()).find("free some space") != std::string::npos;
                return named ? ExitCode(error.kind()) : 98;
              }
              return 0;
            }),
            ExitCode(ErrorKind::kIo));
  EXPECT_EQ(ReadFile(dir / "file"), "old");
  EXPECT_EQ(Names(dir.path()), std::vector<std::string>{"file"});
}

TEST(AtomicFileTest, NoPermissionNamesTheFolderAndTheRemedy) {
  if (::geteuid() == 0) {
    // Root may write anywhere, so another user must try.
    TempDir dir;
    EXPECT_EQ(InChild([&] {
                if (::setuid(65534) != 0) return 99;
                try {
                  WriteFileAtomically(dir / "sub/file", "x");
                } catch (const Error& error) {
                  const std::string text = error.what();
                  const bool named = text.find(dir.path()) != std::string::npos &&
                                     text.find("Permission denied") != std::string::npos &&
                                     text.find("may write") != std::string::npos;
                  return named ? ExitCode(error.kind()) : 98;
                }
                return 0;
              }),
              ExitCode(ErrorKind::kIo));
    return;
  }
  TempDir dir;
  fs::permissions(dir.path(), fs::perms::owner_read | fs::perms::owner_exec);
  ExpectError(ErrorKind::kIo, {dir.path().string(), "Permission denied", "may write"},
              [&] { WriteFileAtomically(dir / "file", "x"); });
  fs::permissions(dir.path(), fs::perms::owner_all);
}

TEST(AtomicFileTest, AFileWhereAFolderIsNeededIsAnError) {
  TempDir dir;
  WriteRaw(dir / "plain", "x");
  ExpectError(ErrorKind::kIo, {"plain"}, [&] { WriteFileAtomically(dir / "plain/file", "x"); });
}

TEST(AtomicFileTest, CannotReplaceAFolder) {
  TempDir dir;
  fs::create_directories(dir / "target/inside");
  ExpectError(ErrorKind::kIo, {"target"}, [&] { WriteFileAtomically(dir / "target", "x"); });
  EXPECT_EQ(Names(dir.path()), std::vector<std::string>{"target"});
}

TEST(ReadFileTest, FaultsNameThePath) {
  TempDir dir;
  ExpectError(ErrorKind::kNotFound, {"missing"}, [&] { ReadFile(dir / "missing"); });
  ExpectError(ErrorKind::kInvalidInput, {"is a folder"}, [&] { ReadFile(dir.path()); });
  WriteRaw(dir / "large", std::string(100, 'x'));
  ExpectError(ErrorKind::kInvalidInput, {"large", "99 bytes"}, [&] { ReadFile(dir / "large", 99); });
  EXPECT_EQ(ReadFile(dir / "large", 100).size(), 100u);
}

TEST(ReadFileTest, AnEndlessFileIsRefusedAtTheLimit) {
  ExpectError(ErrorKind::kInvalidInput, {"/dev/zero"}, [] { ReadFile("/dev/zero", 1 << 22); });
}

TEST(MappedFileTest, ShowsTheBytes) {
  TempDir dir;
  WriteRaw(dir / "file", std::string("a\0b", 3));
  const MappedFile file(dir / "file");
  ASSERT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(std::memcmp(file.bytes().data(), "a\0b", 3), 0);
  EXPECT_EQ(file.path(), dir / "file");
  WriteRaw(dir / "empty", "");
  EXPECT_TRUE(MappedFile(dir / "empty").bytes().empty());
}

TEST(MappedFileTest, StaysValidWhenTheFileIsReplaced) {
  TempDir dir;
  WriteFileAtomically(dir / "file", "old text");
  const MappedFile file(dir / "file");
  WriteFileAtomically(dir / "file", "new");
  EXPECT_EQ(std::memcmp(file.bytes().data(), "old text", 8), 0);
}

#ifdef __SANITIZE_ADDRESS__
// What the other tests rely on when a sanitizer looks at them.
TEST(MappedFileTest, ReadingBeyondTheFileIsNoticed) {
  const TempDir dir;
  WriteRaw(dir / "file", "12345");
  const MappedFile file(dir / "file");
  const volatile std::byte* bytes = file.bytes().data();
  EXPECT_EQ(static_cast<char>(bytes[4]), '5');
  EXPECT_DEATH(static_cast<void>(static_cast<char>(bytes[5])), "use-after-poison");
}
#endif

TEST(MappedFileTest, FaultsNameThePath) {
  TempDir dir;
  ExpectError(ErrorKind::kNotFound, {"missing"}, [&] { MappedFile(dir / "missing"); });
  ExpectError(ErrorKind::kInvalidInput, {"folder"}, [&] { MappedFile{dir.path()}; });
  ExpectError(ErrorKind::kInvalidInput, {"/dev/null"}, [&] { MappedFile("/dev/null"); });
}

std::vector<std::pair<int64_t, std::string>> Lines(const fs::path& path) {
  std::vector<std::pair<int64_t, std::string>> lines;
  ForEachLine(path, [&](int64_t number, std::string_view text) { lines.emplace_back(number, text); });
  return lines;
}

TEST(ForEachLineTest, StripsLineEndsAndNumbersFromOne) {
  TempDir dir;
  using Expected = std::vector<std::pair<int64_t, std::string>>;
  const std::vector<std::pair<std::string, Expected>> cases = {
      {"", {}},
      {"\n", {{1, ""}}},
      {"a", {{1, "a"}}},
      {"a\n", {{1, "a"}}},
      {"a\r\n\r\nb\r", {{1, "a"}, {2, ""}, {3, "b"}}},
      {"a\rb\n\n", {{1, "a\rb"}, {2, ""}}},
  };
  for (const auto& [text, expected] : cases) {
    WriteRaw(dir / "file", text);
    EXPECT_EQ(Lines(dir / "file"), expected) << text;
  }
}

TEST(ForEachLineTest, LinesMayRunOverTheReadBuffer) {
  TempDir dir;
  const std::string first(3'000'000, 'x'), second((1 << 20) - 1, 'y');
  WriteRaw(dir / "file", "short\n" + first + "\r\n" + second + "\nend");
  const auto lines = Lines(dir / "file");
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].second, "short");
  EXPECT_EQ(lines[1].second, first);
  EXPECT_EQ(lines[2].second, second);
  EXPECT_EQ(lines[3].second, "end");
}

TEST(ForEachLineTest, ALineEndSplitByTheBufferIsStillOne) {
  TempDir dir;
  const std::string text((1 << 20) - 1, 'x');  // "\r" is the last byte of the first read
  WriteRaw(dir / "file", text + "\r\nb");
  const auto lines = Lines(dir / "file");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].second, text);
}

TEST(ChecksumTest, IsXxh3) {
  // xxhsum -H3 of the empty input and of "abc".
  EXPECT_EQ(ChecksumHex(""), "2d06800538d394c2");
  EXPECT_EQ(ChecksumHex("abc"), "78af5f94892f3950");
  TempDir dir;
  WriteRaw(dir / "file", "abc");
  EXPECT_EQ(FileChecksumHex(dir / "file"), "78af5f94892f3950");
  WriteRaw(dir / "file", "");
  EXPECT_EQ(FileChecksumHex(dir / "file"), "2d06800538d394c2");
}

TEST(UserCacheDirTest, FollowsTheEnvironment) {
  const auto with = [](const char* cache, const char* home) {
    return InChild([&] {
      cache != nullptr ? ::setenv("XDG_CACHE_HOME", cache, 1) : ::unsetenv("XDG_CACHE_HOME");
      home != nullptr ? ::setenv("HOME", home, 1) : ::unsetenv("HOME");
      try {
        const fs::path path = UserCacheDir();
        return path == "/c/elrea" ? 1 : path == "/h/.cache/elrea" ? 2 : 3;
      } catch (const Error& error) {
        return error.kind() == ErrorKind::kNotFound ? 4 : 5;
      }
    });
  };
  EXPECT_EQ(with("/c", "/h"), 1);
  EXPECT_EQ(with(nullptr, "/h"), 2);
  EXPECT_EQ(with("relative", "/h"), 2);
  EXPECT_EQ(with("", "/h"), 2);
  EXPECT_EQ(with(nullptr, nullptr), 4);
}

TEST(DirectoryLockTest, ASecondLockIsRefusedUntilTheFirstIsGone) {
  TempDir dir;
  {
    DirectoryLock lock(dir / "run");
    ExpectError(ErrorKind::kInvalidInput, {"run", "another elrea process"},
                [&] { DirectoryLock again(dir / "run"); });
    EXPECT_EQ(InChild([&] {
                try {
                  DirectoryLock other(dir / "run");
                } catch (const Error& error) {
                  return ExitCode(error.kind());
                }
                return 0;
              }),
              ExitCode(ErrorKind::kInvalidInput));
  }
  DirectoryLock lock(dir / "run");
}

TEST(DirectoryLockTest, DiesWithItsProcess) {
  TempDir dir;
  EXPECT_EQ(InChild([&] {
              DirectoryLock lock(dir / "run");
              ::kill(::getpid(), SIGKILL);
              return 0;
            }),
            128 + SIGKILL);
  DirectoryLock lock(dir / "run");
}

}  // namespace
}  // namespace elrea
