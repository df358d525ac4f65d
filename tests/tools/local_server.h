// A server's operator side for tests: the admin socket on a loop of its own in a
// temporary folder, in front of the real API or of a handler of the test.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "control/api/admin_api.h"
#include "core/engine/loop_thread.h"
#include "core/net/unix_listener.h"
#include "storage/memory_store.h"
#include "tests/support/temp_folder.h"
#include "tools/serverd/admin_socket.h"

namespace ringscale::serverd::testing {

class LocalServer {
 public:
  struct Parts {
    storage::MemoryStore store;
    std::unique_ptr<control::Registry> registry;
    std::unique_ptr<control::Registration> registration;
    std::unique_ptr<control::AdminApi> api;
    std::unique_ptr<AdminSocket> socket;
  };
  using Setup = std::function<void(AdminSocket&)>;

  // `handler` instead of the API, when given; `setup` adds routes.
  explicit LocalServer(AdminSocket::Handler handler = nullptr, Setup setup = nullptr,
                       AdminSocketLimits limits = {}) {
    auto thread = core::engine::LoopThread::Start({.loop = {.name = "admin-test"}});
    EXPECT_TRUE(thread.has_value()) << (thread ? "" : thread.error().message);
    thread_ = std::move(*thread);
    auto listener = core::net::UnixListener::Open(path(), {});
    EXPECT_TRUE(listener.has_value()) << (listener ? "" : listener.error().message);
    OnLoop([&] {
      core::engine::Loop& loop = thread_->loop();
      parts_ = std::make_unique<Parts>();
      parts_->registry =
          std::make_unique<control::Registry>(loop, parts_->store, control::RegistryOptions{});
      EXPECT_TRUE(parts_->registry->Load().has_value());
      parts_->registration = std::make_unique<control::Registration>(loop, *parts_->registry);
      parts_->api = std::make_unique<control::AdminApi>(loop, *parts_->registry,
                                                        *parts_->registration, parts_->store);
      if (!handler) {
        handler = [this](control::AdminRequest request, control::AdminRespond respond) {
          parts_->api->Handle(std::move(request), std::move(respond));
        };
      }
      parts_->socket = std::make_unique<AdminSocket>(loop, std::move(handler), limits);
      if (setup) setup(*parts_->socket);
      parts_->socket->Start(std::move(*listener));
    });
  }
  ~LocalServer() {
    OnLoop([&] {
      parts_->socket.reset();
      parts_->api.reset();
      parts_->registration.reset();
      parts_->registry.reset();
    });
    thread_->Join();
  }

  [[nodiscard]] std::string path() const { return folder_ / "admin.sock"; }
  [[nodiscard]] const tests::TempFolder& folder() const { return folder_; }
  [[nodiscard]] Parts& parts() { return *parts_; }
  [[nodiscard]] core::engine::Loop& loop() { return thread_->loop(); }

  // Runs `call` on the loop's thread and waits for it.
  template <class Call>
  auto OnLoop(Call call) -> decltype(call()) {
    std::packaged_task<decltype(call())()> task(std::move(call));
    auto result = task.get_future();
    EXPECT_TRUE(thread_->loop().Post([&task] { task(); }));
    return result.get();
  }

 private:
  tests::TempFolder folder_;
  std::unique_ptr<core::engine::LoopThread> thread_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ringscale::serverd::testing
