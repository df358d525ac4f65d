// Where the DERP map comes from: the embedded region, files and URLs. URLs are
// fetched on a thread of their own; the last good answer of each is kept on disk
// and used at the next start. A source that fails is logged and leaves what it
// said before; it never stops the start.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/derp/derp_map.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/engine/loop.h"

namespace ringscale::control {

struct DerpSourceOptions {
  std::vector<std::string> urls;   // JSON; merged first, in order
  std::vector<std::string> paths;  // .json or YAML; merged after the URLs, in order
  core::Duration refresh = core::Seconds(3 * 3600);
  // Folder for the last good answers; empty = none are kept.
  std::string cache_dir;
  DerpMapLimits limits;
};

// Body of an http(s) URL. Any thread; blocks. `cancelled` is asked now and then.
using FetchFn = std::function<core::Result<std::string>(
    const std::string& url, std::size_t max_bytes, const std::function<bool()>& cancelled)>;
// By libcurl: 30 s in all, 5 redirects, certificates verified, http and https only.
core::Result<std::string> FetchUrl(const std::string& url, std::size_t max_bytes,
                                   const std::function<bool()>& cancelled);

class DerpSources {
 public:
  // `on_change` gets the merged map on the loop's thread, from Start on, whenever
  // it differs from before. The loop must outlive this.
  DerpSources(core::engine::Loop& loop, DerpSourceOptions options,
              std::function<void(const DerpMap&)> on_change, FetchFn fetch = FetchUrl);
  ~DerpSources();  // waits for the fetch in progress to be cancelled
  DerpSources(const DerpSources&) = delete;
  DerpSources& operator=(const DerpSources&) = delete;

  // Reads files and kept answers at once, calls `on_change`, begins to fetch.
  void Start();
  // Our own relay; nullopt takes it away. Before or after Start.
  void SetEmbedded(std::optional<EmbeddedRegion> embedded);
  // Reads the files again (SIGHUP) and fetches the URLs soon.
  void Reload();
  // Other files and URLs from now on; what is known of those that stay is kept. After
  // Start. `cache_dir` and `limits` do not change.
  void Reconfigure(std::vector<std::string> urls, std::vector<std::string> paths,
                   core::Duration refresh);

  [[nodiscard]] const DerpMap& map() const;
  // What is wrong with sources now, one sentence each, for /health.
  [[nodiscard]] std::vector<std::string> problems() const;

 private:
  struct Shared;  // with the fetching thread
  struct Source;
  void ReadFiles();
  void ReadCache(Source& source) const;
  void OnFetched(const std::string& url, core::Result<std::string> body);
  void Merge();
  void StartFetching();
  void Run();
  [[nodiscard]] std::string CachePath(const std::string& url) const;

  core::engine::Loop& loop_;
  DerpSourceOptions options_;
  std::function<void(const DerpMap&)> on_change_;
  FetchFn fetch_;
  std::vector<Source> urls_;
  std::vector<Source> paths_;
  std::optional<EmbeddedRegion> embedded_;
  DerpMap map_;
  bool started_ = false;
  std::shared_ptr<Shared> shared_;
};

}  // namespace ringscale::control
