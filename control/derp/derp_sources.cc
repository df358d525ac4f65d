#include "control/derp/derp_sources.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
#include <utility>

#include "core/base/fd.h"
#include "core/base/keyed_hash.h"
#include "core/obs/log.h"

namespace ringscale::control {
namespace {

constexpr std::string_view kComponent = "derp-map";
// A URL that fails is asked again after 5 s, then after twice as long each time, up
// to the refresh interval.
constexpr core::Duration kFirstRetry = core::Seconds(5);

core::Result<std::string> ReadFile(const std::string& path, std::size_t max_bytes) {
  const core::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return core::FailErrno(path, errno);
  std::string text;
  char buffer[16384];
  while (true) {
    const ssize_t got = ::read(file.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return core::FailErrno(path, errno);
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > max_bytes) {
      return core::Fail(core::ErrorCode::kLimit,
                        path + " is longer than " + std::to_string(max_bytes) + " bytes");
    }
  }
}

// Beside, then renamed: a reader never sees half of it. The content can be fetched
// again, so it is not forced to disk.
core::Result<> ReplaceFile(const std::string& path, std::string_view text) {
  const std::string beside = path + ".new";
  {
    const core::Fd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file.valid()) return core::FailErrno(beside, errno);
    while (!text.empty()) {
      const ssize_t wrote = ::write(file.get(), text.data(), text.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return core::FailErrno(beside, errno);
      text.remove_prefix(static_cast<std::size_t>(wrote));
    }
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return core::FailErrno(path, errno);
  return {};
}

}  // namespace

struct DerpSources::Source {
  std::string where;
  std::optional<DerpSourceMap> map;  // what it said last that was good
  std::string problem;
};

struct DerpSources::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  bool stop = false;
  bool fetch_now = false;
  std::vector<std::string> urls;
  core::Duration refresh;
  std::atomic<bool> cancelled{false};
  std::thread thread;
  DerpSources* owner = nullptr;  // loop thread only; null once the owner is gone
};

DerpSources::DerpSources(core::engine::Loop& loop, DerpSourceOptions options,
                         std::function<void(const DerpMap&)> on_change, FetchFn fetch)
    : loop_(loop),
      options_(std::move(options)),
      on_change_(std::move(on_change)),
      fetch_(std::move(fetch)),
      shared_(std::make_shared<Shared>()) {
  for (const std::string& url : options_.urls) urls_.push_back({.where = url});
  for (const std::string& path : options_.paths) paths_.push_back({.where = path});
  shared_->owner = this;
}

DerpSources::~DerpSources() {
  shared_->owner = nullptr;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
    shared_->cancelled = true;
  }
  shared_->changed.notify_all();
  if (shared_->thread.joinable()) shared_->thread.join();
}

const DerpMap& DerpSources::map() const {
  return map_;
}

std::vector<std::string> DerpSources::problems() const {
  std::vector<std::string> problems;
  for (const auto* sources : {&urls_, &paths_}) {
    for (const Source& source : *sources) {
      if (!source.problem.empty()) problems.push_back(source.where + ": " + source.problem);
    }
  }
  return problems;
}

void DerpSources::Start() {
  ReadFiles();
  for (Source& source : urls_) ReadCache(source);
  started_ = true;
  Merge();
  on_change_(map_);
  StartFetching();
}

void DerpSources::StartFetching() {
  const std::lock_guard lock(shared_->mutex);
  shared_->urls = options_.urls;
  shared_->refresh = options_.refresh;
  shared_->fetch_now = shared_->thread.joinable();
  shared_->changed.notify_all();
  if (!shared_->thread.joinable() && !urls_.empty()) {
    shared_->thread = std::thread([this] { Run(); });
  }
}

void DerpSources::Reconfigure(std::vector<std::string> urls, std::vector<std::string> paths,
                              core::Duration refresh) {
  const auto keep = [](std::vector<Source>& sources, const std::vector<std::string>& wanted) {
    std::vector<Source> kept;
    for (const std::string& where : wanted) {
      const auto known = std::ranges::find(sources, where, &Source::where);
      kept.push_back(known == sources.end() ? Source{.where = where} : std::move(*known));
    }
    sources = std::move(kept);
  };
  keep(urls_, urls);
  keep(paths_, paths);
  options_.urls = std::move(urls);
  options_.paths = std::move(paths);
  options_.refresh = refresh;
  for (Source& source : urls_) {
    if (!source.map) ReadCache(source);
  }
  ReadFiles();
  Merge();
  StartFetching();
}

void DerpSources::SetEmbedded(std::optional<EmbeddedRegion> embedded) {
  if (embedded_ == embedded) return;
  embedded_ = std::move(embedded);
  if (started_) Merge();
}

void DerpSources::Reload() {
  ReadFiles();
  Merge();
  const std::lock_guard lock(shared_->mutex);
  shared_->fetch_now = true;
  shared_->changed.notify_all();
}

void DerpSources::ReadFiles() {
  for (Source& source : paths_) {
    auto text = ReadFile(source.where, options_.limits.bytes);
    auto map = !text                             ? core::Result<DerpSourceMap>(core::Forward(text))
               : source.where.ends_with(".json") ? ParseDerpMapJson(*text, options_.limits)
                                                 : ParseDerpMapYaml(*text, options_.limits);
    if (map) {
      source.map = std::move(*map);
      source.problem.clear();
      continue;
    }
    source.problem = map.error().message;
    core::LogWarn(kComponent, "a DERP map file is not usable",
                  {{"path", source.where}, {"error", source.problem}});
  }
}

std::string DerpSources::CachePath(const std::string& url) const {
  // Fixed secret: the name must be the same after a restart.
  const std::uint64_t hash = core::KeyedHash({0, 0}, core::AsBytes(url));
  char name[32];
  std::snprintf(name, sizeof name, "derp-%016llx.json", static_cast<unsigned long long>(hash));
  return options_.cache_dir + "/" + name;
}

void DerpSources::ReadCache(Source& source) const {
  if (options_.cache_dir.empty()) return;
  const auto text = ReadFile(CachePath(source.where), options_.limits.bytes);
  if (!text) return;
  auto map = ParseDerpMapJson(*text, options_.limits);
  if (map) source.map = std::move(*map);
}

void DerpSources::OnFetched(const std::string& url, core::Result<std::string> body) {
  const auto found = std::ranges::find(urls_, url, &Source::where);
  if (found == urls_.end()) return;  // not wanted any more
  Source& source = *found;
  auto map = body ? ParseDerpMapJson(*body, options_.limits)
                  : core::Result<DerpSourceMap>(core::Forward(body));
  if (!map) {
    source.problem = map.error().message;
    core::LogWarn(kComponent, "a DERP map URL is not usable, the last good answer stays in use",
                  {{"url", source.where}, {"error", source.problem}});
    return;
  }
  source.problem.clear();
  source.map = std::move(*map);
  Merge();
  if (options_.cache_dir.empty()) return;
  if (const auto kept = ReplaceFile(CachePath(url), *body); !kept) {
    core::LogWarn(kComponent, "cannot keep a DERP map for the next start",
                  {{"error", kept.error().message}});
  }
}

void DerpSources::Merge() {
  DerpMap merged;
  for (const auto* sources : {&urls_, &paths_}) {
    for (const Source& source : *sources) {
      if (source.map) MergeDerpMap(merged, *source.map);
    }
  }
  merged.embedded = embedded_;
  if (merged == map_) return;
  map_ = std::move(merged);
  if (started_) on_change_(map_);
}

// On the fetching thread: touches only fetch_, the limits and what is shared.
void DerpSources::Run() {
  const std::shared_ptr<Shared> shared = shared_;
  const auto cancelled = [&] { return shared->cancelled.load(); };
  core::Duration retry = kFirstRetry;
  while (true) {
    bool failed = false;
    std::vector<std::string> urls;
    {
      const std::lock_guard lock(shared->mutex);
      urls = shared->urls;
    }
    for (const std::string& url : urls) {
      auto body = fetch_(url, options_.limits.bytes, cancelled);
      if (!body || !ParseDerpMapJson(*body, options_.limits)) failed = true;
      if (cancelled()) break;
      // A full queue loses this answer; the next refresh brings another.
      (void)loop_.Post([shared, url, result = std::move(body)]() mutable {
        if (shared->owner != nullptr) shared->owner->OnFetched(url, std::move(result));
      });
    }
    std::unique_lock lock(shared->mutex);
    const core::Duration pause = failed ? std::min(retry, shared->refresh) : shared->refresh;
    retry = failed ? std::min(retry * 2, shared->refresh) : kFirstRetry;
    shared->changed.wait_for(lock, std::chrono::nanoseconds(pause.ns),
                             [&] { return shared->stop || shared->fetch_now; });
    if (shared->stop) return;
    shared->fetch_now = false;
  }
}

}  // namespace ringscale::control
