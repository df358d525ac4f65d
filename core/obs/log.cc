#include "core/obs/log.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/time.h"
#include "core/obs/log_line.h"

namespace ringscale::core {
namespace {

constexpr std::size_t kMaxQueuedBytes = 4 * 1024 * 1024;

void WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return;  // nobody reads the log: there is no place left to say so
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// One background thread, started by the first line. Lives until the process
// ends, so that static destructors may still log.
class LogWriter {
 public:
  static LogWriter& Get() {
    static LogWriter* const writer = new LogWriter;
    return *writer;
  }

  void Queue(std::string_view line) {
    {
      const std::lock_guard lock(queue_mutex_);
      if (queued_.size() + line.size() > kMaxQueuedBytes) {
        dropped_.fetch_add(1, std::memory_order_relaxed);
        ++dropped_unreported_;
        return;
      }
      const bool wake = queued_.empty();
      queued_ += line;
      if (!wake) return;
    }
    ready_.notify_one();
  }

  void WriteQueued() {
    const std::lock_guard writing(write_mutex_);
    std::string batch;
    std::uint64_t lost = 0;
    {
      const std::lock_guard lock(queue_mutex_);
      batch.swap(queued_);
      lost = std::exchange(dropped_unreported_, 0);
    }
    if (lost > 0) {
      batch += internal::FormatLogLine(format.load(std::memory_order_relaxed), WallNow(),
                                       LogLevel::kWarn, "log", "lines dropped, the queue was full",
                                       {{"count", lost}});
    }
    WriteAll(fd.load(std::memory_order_relaxed), batch);
  }

  [[nodiscard]] std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

  std::atomic<LogLevel> level{LogLevel::kInfo};
  std::atomic<LogFormat> format{LogFormat::kText};
  std::atomic<int> fd{STDERR_FILENO};

 private:
  LogWriter() {
    std::thread([this] { Run(); }).detach();
    std::atexit(FlushLog);
  }

  void Run() {
    pthread_setname_np(pthread_self(), "log");
    for (;;) {
      {
        std::unique_lock lock(queue_mutex_);
        ready_.wait(lock, [this] { return !queued_.empty(); });
      }
      WriteQueued();
    }
  }

  std::mutex write_mutex_;  // taken before queue_mutex_; keeps batches in order
  std::mutex queue_mutex_;
  std::condition_variable ready_;
  std::string queued_;
  std::uint64_t dropped_unreported_ = 0;
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace

void ConfigureLog(LogLevel level, LogFormat format) {
  LogWriter& writer = LogWriter::Get();
  writer.level.store(level, std::memory_order_relaxed);
  writer.format.store(format, std::memory_order_relaxed);
}

void SetLogLevel(LogLevel level) {
  LogWriter::Get().level.store(level, std::memory_order_relaxed);
}

void SetLogDescriptor(int fd) {
  FlushLog();
  LogWriter::Get().fd.store(fd, std::memory_order_relaxed);
}

bool LogEnabled(LogLevel level) {
  return level >= LogWriter::Get().level.load(std::memory_order_relaxed);
}

Result<LogLevel> ParseLogLevel(std::string_view text) {
  for (const LogLevel level :
       {LogLevel::kTrace, LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError}) {
    if (text == internal::LogLevelName(level)) return level;
  }
  return Fail(ErrorCode::kInvalid, "unknown log level \"" + std::string(text) +
                                       "\", expected trace, debug, info, warn or error");
}

void FlushLog() {
  LogWriter::Get().WriteQueued();
}

std::uint64_t DroppedLogLines() {
  return LogWriter::Get().dropped();
}

void Log(LogLevel level, std::string_view component, std::string_view message,
         std::initializer_list<LogField> fields) {
  if (!LogEnabled(level)) return;
  LogWriter& writer = LogWriter::Get();
  writer.Queue(internal::FormatLogLine(writer.format.load(std::memory_order_relaxed), WallNow(),
                                       level, component, message, fields));
}

}  // namespace ringscale::core
