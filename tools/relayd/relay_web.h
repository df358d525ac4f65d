// What a dedicated relay answers besides DERP: derper's paths on the main
// listeners, the way to https on port 80, figures and debug pages.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/obs/metrics.h"
#include "tools/relayd/bootstrap_dns.h"
#include "tools/relayd/derp_metrics.h"
#include "tools/serverd/config.h"
#include "tools/serverd/front/front.h"

namespace ringscale::relayd {

class RelayWeb {
 public:
  // All outlive the fronts; functions may be called on any thread.
  struct Parts {
    const serverd::Config* config = nullptr;
    const BootstrapDns* bootstrap_dns = nullptr;
    const core::MetricsRegistry* metrics = nullptr;
    std::shared_ptr<const DerpMetrics> derp;
    std::string version;
    bool mesh_key = false;
    // The clients that send and receive, as JSON, a second later.
    std::function<void(std::function<void(std::string json)>)> traffic;
  };
  explicit RelayWeb(Parts parts) : parts_(std::move(parts)) {}

  // Of the main listeners, of port 80, of the metrics listener.
  void Handle(const serverd::FrontRequest& request, serverd::HttpResponder responder) const;
  void HandleHttp(const serverd::FrontRequest& request, serverd::HttpResponder responder) const;
  void HandleMetrics(const serverd::FrontRequest& request, serverd::HttpResponder responder) const;
  [[nodiscard]] static std::size_t BodyLimit(const core::http::HttpRequest&) { return 0; }

 private:
  [[nodiscard]] core::http::HttpResponse Home(const serverd::FrontRequest& request) const;
  [[nodiscard]] core::http::HttpResponse Debug(const serverd::FrontRequest& request) const;
  void HandleDebug(const serverd::FrontRequest& request, serverd::HttpResponder responder) const;
  [[nodiscard]] core::http::HttpResponse Metrics() const;

  const Parts parts_;
};

// Debug pages are for this machine and for members of a tailnet.
bool MayDebug(const serverd::FrontRequest& request);

}  // namespace ringscale::relayd
