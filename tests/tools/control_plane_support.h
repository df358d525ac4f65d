// A control plane in memory: no sockets, no clock, a data directory of its own.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "storage/memory_store.h"
#include "tests/support/fake_loop.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/local_server.h"
#include "tools/serverd/control_plane.h"
#include "tools/serverd/settings.h"

namespace ringscale::serverd {

class ControlPlaneTest : public ::testing::Test {
 protected:
  ControlPlaneTest() {
    config_.data_dir = folder_ / "data";
    std::filesystem::create_directory(config_.data_dir);
  }
  void Start() {
    auto certificate = CertificateKeeper::Create(config_, OwnNames(config_), loop_.Wall());
    ASSERT_TRUE(certificate);
    ControlPlane::Parts parts;
    parts.store = &store_;
    parts.admitted = &admitted_;
    parts.health = &health_;
    parts.metrics = &metrics_;
    parts.close_relay_key = [](const core::NodePublic&) {};
    parts.use_certificate = [this](std::shared_ptr<const core::tls::ServerContext> context) {
      in_use_.push_back(context->leaf_sha256_hex());
      if (on_use_) on_use_();
    };
    parts.make_certificate = [this](const Config& config, std::set<std::string> names) {
      return CertificateKeeper::Create(config, std::move(names), loop_.Wall());
    };
    parts.sockets = [] { return std::vector<HandOver::Socket>(); };
    parts.stop = [] {};
    auto plane = ControlPlane::Create(loop_, config_, std::move(*certificate), std::move(parts));
    ASSERT_TRUE(plane) << plane.error().message;
    plane_ = std::move(*plane);
  }

  tests::TempFolder folder_;
  ringscale::testing::FakeLoop loop_;
  storage::MemoryStore store_;
  relay::AdmissionSet admitted_;
  HealthBoard health_;
  core::MetricsRegistry metrics_;
  Config config_;
  std::vector<std::string> in_use_;  // leaves of certificates, in order
  std::function<void()> on_use_;     // behind each of them
  std::unique_ptr<ControlPlane> plane_;
};

}  // namespace ringscale::serverd
