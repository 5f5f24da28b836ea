#include "core/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace elrea {
namespace {

std::string ReadAll(int fd) {
  std::string text;
  char chunk[4096];
  for (ssize_t count; (count = ::read(fd, chunk, sizeof(chunk))) > 0;) {
    text.append(chunk, static_cast<size_t>(count));
  }
  ::close(fd);
  return text;
}

// What `body` writes to stderr in a child process, through a pipe or a terminal of 60 columns.
template <typename Body>
std::string CaptureStderr(bool terminal, Body&& body) {
  int reading = -1, writing = -1;
  if (terminal) {
    const winsize size{24, 60, 0, 0};
    EXPECT_EQ(::openpty(&reading, &writing, nullptr, nullptr, &size), 0);
  } else {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    reading = ends[0];
    writing = ends[1];
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(writing, STDERR_FILENO);
    ::close(writing);
    ::close(reading);
    body();
    ::_exit(0);
  }
  ::close(writing);
  std::string text = ReadAll(reading);
  ::waitpid(child, nullptr, 0);
  return text;
}

void Sleep(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

TEST(LogTest, LinesCarryLevelStageAndMessage) {
  const std::string text = CaptureStderr(false, [] {
    LogInfo("train", "step done loss={:.2f}", 1.234);
    LogWarning("data", "{} rows dropped", 3);
    LogLine(LogLevel::kError, "cli", "braces {} are plain here");
    LogLine(LogLevel::kDebug, "cli", "hidden by default");
  });
  EXPECT_EQ(text,
            "info train step done loss=1.23\nwarning data 3 rows dropped\n"
            "error cli braces {} are plain here\n");
}

TEST(LogTest, LevelsHideWhatIsBelowThem) {
  const std::string text = CaptureStderr(false, [] {
    SetLogLevel(LogLevel::kWarning);
    LogInfo("a", "no");
    LogWarning("a", "yes");
    SetLogLevel(LogLevel::kOff);
    LogLine(LogLevel::kError, "a", "no");
    SetLogLevel(LogLevel::kDebug);
    LogLine(LogLevel::kDebug, "a", "yes");
  });
  EXPECT_EQ(text, "warning a yes\ndebug a yes\n");
}

TEST(LogTest, LinesOfManyThreadsAreNotMixed) {
  const std::string text = CaptureStderr(false, [] {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([] {
        for (int i = 0; i < 200; ++i) LogInfo("stage", "{}", std::string(50, 'x'));
      });
    }
  });
  const std::string line = "info stage " + std::string(50, 'x') + "\n";
  ASSERT_EQ(text.size(), 800 * line.size());
  for (size_t i = 0; i < text.size(); i += line.size()) {
    ASSERT_EQ(text.substr(i, line.size()), line);
  }
}

TEST(ProgressTest, QuickWorkShowsNothing) {
  for (bool terminal : {false, true}) {
    EXPECT_EQ(CaptureStderr(terminal,
                            [] {
                              Progress progress("train", 10, "rows");
                              for (int i = 0; i < 10; ++i) progress.Add(1);
                            }),
              "");
  }
}

TEST(ProgressTest, OnATerminalABarIsRedrawnAndEndsItsLine) {
  const std::string text = CaptureStderr(true, [] {
    Progress progress("train", 1000, "rows");
    Sleep(600);
    progress.Set(500, "loss 1.5");
    LogInfo("data", "between");
    Sleep(150);
    progress.Set(1000);
  });
  EXPECT_NE(text.find("\rtrain [##########..........] 50% 500/1,000 rows"), std::string::npos) << text;
  // The log line wipes the bar first, and is not appended to it (colours may stand between).
  const size_t logged = text.find("data between");
  ASSERT_NE(logged, std::string::npos) << text;
  const size_t wiped = text.rfind("\033[K", logged);
  ASSERT_NE(wiped, std::string::npos) << text;
  EXPECT_EQ(text.substr(wiped, logged - wiped).find("rows"), std::string::npos) << text;
  EXPECT_NE(text.find("100% 1,000/1,000 rows"), std::string::npos) << text;
  EXPECT_EQ(text.back(), '\n');
  for (size_t begin = 0; begin < text.size();) {  // no drawn line is wider than the terminal
    const size_t end = std::min(text.find_first_of("\r\n", begin), text.size());
    EXPECT_LT(end - begin, 60u + 3u);
    begin = end + 1;
  }
}

TEST(ProgressTest, ElsewhereLongWorkEndsWithOneLineWithoutResumedWorkInTheRate) {
  const std::string text = CaptureStderr(false, [] {
    Progress progress("features", 1000, "rows");
    progress.StartAt(990);
    Sleep(2100);
    progress.Set(1000, "done");
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_TRUE(text.starts_with("info features 100% 1,000/1,000 rows, 4.")) << text;  // 10 rows in 2.1 s
  EXPECT_NE(text.find("took 2."), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("done\n")) << text;
}

TEST(ProgressTest, UnknownTotalAndHiddenInfo) {
  const auto work = [] {
    Progress progress("scan", 0, "tokens");
    Sleep(550);
    progress.Set(12345);
    Sleep(110);
    progress.Set(23456);
  };
  const std::string text = CaptureStderr(true, work);
  EXPECT_NE(text.find("scan 23,456 tokens"), std::string::npos) << text;
  EXPECT_EQ(text.find('%'), std::string::npos) << text;
  EXPECT_EQ(CaptureStderr(true,
                          [&] {
                            SetLogLevel(LogLevel::kWarning);
                            work();
                          }),
            "");
}

}  // namespace
}  // namespace elrea
