// Structured logs, as text for people or JSON lines for machines. Never called
// per packet. Thread-safe; a call formats in the caller and hands the line to
// one background writer; when its bounded queue is full lines are dropped and
// counted. Secrets are never passed here.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/result.h"

namespace ringscale::core {

enum class LogLevel : std::uint8_t { kTrace, kDebug, kInfo, kWarn, kError };
enum class LogFormat : std::uint8_t { kText, kJson };

struct LogField {
  std::string_view key;
  std::string value;
  bool number = false;

  LogField(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  template <std::integral T>
  LogField(std::string_view k, T v) : key(k), value(std::to_string(v)), number(true) {}
};

// At any time. Default before that: text to stderr at info.
void ConfigureLog(LogLevel level, LogFormat format);
void SetLogLevel(LogLevel level);
[[nodiscard]] bool LogEnabled(LogLevel level);
Result<LogLevel> ParseLogLevel(std::string_view text);
// Writes everything queued; at shutdown. Also done when the process exits.
void FlushLog();
// Where lines go from now on (default: standard error). Not owned.
void SetLogDescriptor(int fd);
// Lines lost to a full queue since start.
[[nodiscard]] std::uint64_t DroppedLogLines();

void Log(LogLevel level, std::string_view component, std::string_view message,
         std::initializer_list<LogField> fields = {});
inline void LogDebug(std::string_view component, std::string_view message,
                     std::initializer_list<LogField> fields = {}) {
  if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, component, message, fields);
}
inline void LogInfo(std::string_view component, std::string_view message,
                    std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kInfo, component, message, fields);
}
inline void LogWarn(std::string_view component, std::string_view message,
                    std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kWarn, component, message, fields);
}
inline void LogError(std::string_view component, std::string_view message,
                     std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kError, component, message, fields);
}

}  // namespace ringscale::core
