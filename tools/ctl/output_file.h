// A file that appears under its name only when it is complete.
#pragma once

#include <string>
#include <string_view>

#include "core/base/fd.h"
#include "core/base/result.h"

namespace ringscale::ctl {

// Written beside the target as "<path>.partial-XXXXXX", mode 0600, and renamed by
// Finish after fsync. What was not finished is removed.
class OutputFile {
 public:
  // kExists when there is a file already and `replace` is false.
  static core::Result<OutputFile> Create(const std::string& path, bool replace);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  core::Result<> Write(std::string_view bytes);
  core::Result<> Finish();

 private:
  OutputFile(std::string path, std::string partial, core::Fd fd, bool replace);

  std::string path_;
  std::string partial_;  // empty = finished or moved from
  core::Fd fd_;
  bool replace_;
};

// Writes all of it, however many calls that takes.
core::Result<> WriteAll(int fd, std::string_view bytes, const std::string& name);

}  // namespace ringscale::ctl
