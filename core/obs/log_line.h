// How one log line looks. Foreign bytes in messages and values cannot start a
// line of their own, reach the terminal as control characters or break the JSON.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "core/base/time.h"
#include "core/obs/log.h"

namespace ringscale::core::internal {

std::string_view LogLevelName(LogLevel level);

// With the line feed. Messages and values longer than 4 KiB are cut.
std::string FormatLogLine(LogFormat format, WallTime time, LogLevel level,
                          std::string_view component, std::string_view message,
                          std::initializer_list<LogField> fields);

}  // namespace ringscale::core::internal
