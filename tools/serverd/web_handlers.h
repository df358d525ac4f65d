// Ordinary HTTP requests of the main listeners: pages, health, version, admission
// for other relays. Called on front threads.
#pragma once

#include <functional>
#include <string>

#include "core/obs/metrics.h"
#include "relay/app/ports.h"
#include "storage/store.h"
#include "tools/serverd/front/front.h"
#include "tools/serverd/front/request_rate.h"
#include "tools/serverd/health_board.h"
#include "tools/serverd/pages/page.h"

namespace ringscale::serverd {

class WebHandlers {
 public:
  // All outlive the fronts. `show_login` and `site` may be called on any thread.
  struct Parts {
    const relay::Admission* admission = nullptr;
    const HealthBoard* health = nullptr;
    const storage::Store* store = nullptr;
    const core::MetricsRegistry* metrics = nullptr;
    std::string version_json;
    std::function<pages::Site(std::string_view host, bool https)> site;
    std::function<void(FrontRequest, HttpResponder)> show_login;
  };

  explicit WebHandlers(Parts parts) : parts_(std::move(parts)) {}

  void Handle(FrontRequest request, HttpResponder responder);
  // Of the metrics listener.
  void HandleMetrics(const FrontRequest& request, HttpResponder responder) const;
  [[nodiscard]] static std::size_t BodyLimit(const core::http::HttpRequest& head);

 private:
  [[nodiscard]] core::http::HttpResponse Health() const;
  [[nodiscard]] core::http::HttpResponse Verify(const FrontRequest& request);

  Parts parts_;
  RequestRate verify_rate_{20, 100};
};

}  // namespace ringscale::serverd
