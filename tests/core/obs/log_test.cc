#include "core/obs/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "core/base/fd.h"
#include "core/obs/log_line.h"

namespace ringscale::core {
namespace {

using internal::FormatLogLine;

const WallTime kTen{1'787'392'800'007'000'000};

std::string Text(std::string_view message, std::initializer_list<LogField> fields = {}) {
  return FormatLogLine(LogFormat::kText, kTen, LogLevel::kInfo, "relay", message, fields);
}
std::string Json(std::string_view message, std::initializer_list<LogField> fields = {}) {
  return FormatLogLine(LogFormat::kJson, kTen, LogLevel::kWarn, "relay", message, fields);
}

TEST(LogLine, IsReadable) {
  EXPECT_EQ(Text("client connected", {{"remote", "1.2.3.4:5"}, {"clients", 12}}),
            "2026-08-22T10:00:00.007Z info  relay: client connected remote=1.2.3.4:5 clients=12\n");
  EXPECT_EQ(Text("x", {{"name", "two words"}, {"empty", ""}}),
            "2026-08-22T10:00:00.007Z info  relay: x name=\"two words\" empty=\"\"\n");
}

TEST(LogLine, IsJson) {
  EXPECT_EQ(Json("client gone", {{"why", "a \"reset\" \\"}, {"bytes", -5}}),
            "{\"time\":\"2026-08-22T10:00:00.007Z\",\"level\":\"warn\",\"component\":\"relay\","
            "\"message\":\"client gone\",\"why\":\"a \\\"reset\\\" \\\\\",\"bytes\":-5}\n");
}

TEST(LogLine, ForeignBytesStayInsideTheirLine) {
  const std::string evil("a\nb\r\x1b[31m\x7f\0z\xff\xc2\x9b", 15);
  const std::string text = Text(evil, {{"value", evil}});
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  for (const char c : text.substr(0, text.size() - 1)) {
    EXPECT_GE(static_cast<unsigned char>(c), 0x20);
    EXPECT_LT(static_cast<unsigned char>(c), 0x7f);
  }
  const std::string json = Json(evil, {{"value", evil}});
  EXPECT_EQ(json.find('\n'), json.size() - 1);
  EXPECT_TRUE(json.contains("\\u001b[31m"));
  EXPECT_TRUE(json.contains("\xef\xbf\xbd"));
}

TEST(LogLine, KeepsGoodUtf8AndReplacesBad) {
  EXPECT_TRUE(Json("größe €  𝄞").contains("größe €  𝄞"));
  for (const char* bad : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf5\x80",
                          "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    EXPECT_TRUE(Json(bad).contains("\xef\xbf\xbd")) << bad;
  }
}

TEST(LogLine, CutsWhatIsTooLong) {
  const std::string line = Text(std::string(100'000, 'x'));
  EXPECT_LT(line.size(), 5000u);
  EXPECT_TRUE(line.ends_with("xxx...\n"));
}

TEST(LogLevel, Parses) {
  EXPECT_EQ(ParseLogLevel("debug").value(), LogLevel::kDebug);
  EXPECT_EQ(ParseLogLevel("error").value(), LogLevel::kError);
  const auto bad = ParseLogLevel("loud");
  ASSERT_FALSE(bad.has_value());
  EXPECT_TRUE(bad.error().message.contains("loud"));
}

class LogToPipe : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2] = {-1, -1};
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    out_ = Fd(ends[0]);
    in_ = Fd(ends[1]);
    SetLogDescriptor(in_.get());
    ConfigureLog(LogLevel::kInfo, LogFormat::kText);
  }
  void TearDown() override {
    // A writer blocked on the full pipe goes on when nobody can read any more.
    out_.Reset();
    SetLogDescriptor(STDERR_FILENO);
    ConfigureLog(LogLevel::kInfo, LogFormat::kText);
  }
  // Everything up to `needle`.
  std::string ReadUntil(const std::string& needle) {
    std::string all;
    char part[65536];
    while (!all.contains(needle)) {
      const ssize_t got = read(out_.get(), part, sizeof part);
      if (got <= 0) break;
      all.append(part, static_cast<std::size_t>(got));
    }
    return all;
  }
  Fd out_;
  Fd in_;
};

TEST_F(LogToPipe, WritesInOrderFromManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kLines = 200;
  std::vector<std::thread> threads;
  std::string all;
  std::thread reader([&] { all = ReadUntil("the end"); });
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < kLines; ++i) LogInfo("test", "line", {{"thread", t}, {"i", i}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  LogInfo("test", "the end");
  FlushLog();
  reader.join();
  for (int t = 0; t < kThreads; ++t) {
    std::size_t at = 0;
    for (int i = 0; i < kLines; ++i) {
      at = all.find("thread=" + std::to_string(t) + " i=" + std::to_string(i) + "\n", at);
      ASSERT_NE(at, std::string::npos) << t << " " << i;
    }
  }
}

TEST_F(LogToPipe, LevelsFilter) {
  SetLogLevel(LogLevel::kWarn);
  EXPECT_FALSE(LogEnabled(LogLevel::kInfo));
  EXPECT_TRUE(LogEnabled(LogLevel::kWarn));
  LogInfo("test", "unseen");
  LogDebug("test", "unseen");
  LogWarn("test", "seen");
  FlushLog();
  const std::string all = ReadUntil("seen\n");
  EXPECT_FALSE(all.contains("unseen"));
}

TEST_F(LogToPipe, AFullQueueDropsAndCounts) {
  const std::uint64_t before = DroppedLogLines();
  const std::string payload(4000, 'x');
  // Far more than the queue and the pipe hold, while nobody reads.
  for (int i = 0; i < 4000; ++i) LogInfo("test", payload);
  EXPECT_GT(DroppedLogLines(), before + 1000);
  std::string all;
  std::thread reader([&] { all = ReadUntil("lines dropped"); });
  reader.join();
  EXPECT_TRUE(all.contains("lines dropped, the queue was full count="));
}

}  // namespace
}  // namespace ringscale::core
