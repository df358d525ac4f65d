// What the tests of control/app share: an API that remembers what it was asked.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control/app/control_server.h"
#include "tests/support/noise_client.h"

namespace ringscale::control {

class RecordingApi final : public MachineApi {
 public:
  struct Call {
    std::string method;
    MachineRequest request;
  };
  [[nodiscard]] bool IsRegistered(const core::MachinePublic& machine) const override {
    return registered.contains(machine);
  }
  void Register(MachineRequest request, Responder responder) override {
    calls.push_back({"Register", request});
    if (on_register) on_register(std::move(request), std::move(responder));
  }
  void Map(MachineRequest request, Responder responder) override {
    calls.push_back({"Map", request});
    if (on_map) on_map(std::move(request), std::move(responder));
  }
  void PingResponse(MachineRequest request, Responder responder) override {
    calls.push_back({"PingResponse", request});
    MachineApi::PingResponse(std::move(request), std::move(responder));
  }

  std::set<core::MachinePublic> registered;
  std::vector<Call> calls;
  std::function<void(MachineRequest, Responder)> on_register;
  std::function<void(MachineRequest, Responder)> on_map;
};

// A body whose text the test appends to.
class TextSource final : public core::http::BodySource {
 public:
  struct Shared {
    std::string text;
    bool ended = false;
    bool aborted = false;
    int alive = 0;
    core::http::BodyWaker* waker = nullptr;
  };
  explicit TextSource(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {
    ++shared_->alive;
  }
  ~TextSource() override { --shared_->alive; }
  Status Pull(std::size_t limit, core::SliceList& out) override {
    std::string taken = shared_->text.substr(0, limit);
    shared_->text.erase(0, taken.size());
    if (!taken.empty()) out.push_back(core::SharedSlice::Own(std::move(taken)));
    if (!shared_->text.empty()) return Status::kMore;
    return shared_->ended ? Status::kEnd : Status::kWait;
  }
  void OnAborted() override { shared_->aborted = true; }

 private:
  std::shared_ptr<Shared> shared_;
};

}  // namespace ringscale::control
