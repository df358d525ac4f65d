// What the tests of control/state and control/auth share: a loop whose clock the
// test turns, a registry on a store in memory, and a record of what it publishes.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/state/registry.h"
#include "core/engine/manual_loop.h"
#include "storage/memory_store.h"

namespace ringscale::control::testing {

using core::engine::ManualLoop;

template <class Key>
Key MakeKey(std::uint64_t n) {
  Key key;
  for (std::size_t i = 0; i < 8; ++i) key.raw[i] = static_cast<std::uint8_t>(n >> (8 * i));
  key.raw[31] = 1;
  return key;
}
inline core::MachinePublic Machine(std::uint64_t n) {
  return MakeKey<core::MachinePublic>(n);
}
inline core::NodePublic NodeKey(std::uint64_t n) {
  return MakeKey<core::NodePublic>(n);
}
inline core::DiscoPublic Disco(std::uint64_t n) {
  return MakeKey<core::DiscoPublic>(n);
}
inline core::IpPrefix Prefix(std::string_view text) {
  return *core::IpPrefix::Parse(text);
}
inline Endpoint At(std::string_view address, std::uint8_t type) {
  return {*core::SocketAddress::Parse(address), type};
}

struct Published : Change {
  std::string name;  // of the node
};

struct Recorder final : ChangeListener {
  void OnChange(const Change& change) override {
    Published entry{change, {}};
    if (change.node != nullptr) entry.name = change.node->row.given_name;
    entry.node = nullptr;
    changes.push_back(entry);
  }
  // Since the last call.
  std::vector<Published> Take() { return std::exchange(changes, {}); }
  std::vector<Published> changes;
};

// The result of an operation; Get fails the test while it is not there.
template <class T>
class Outcome {
 public:
  Completion<T> Callback() {
    return [state = state_](core::Result<T> result) {
      EXPECT_FALSE(state->has_value()) << "completed twice";
      state->emplace(std::move(result));
    };
  }
  [[nodiscard]] bool done() const { return state_->has_value(); }
  core::Result<T>& Get() {
    if (!done()) {
      ADD_FAILURE() << "not completed";
      state_->emplace(core::Fail(core::ErrorCode::kInternal, "not completed"));
    }
    return **state_;
  }
  [[nodiscard]] std::string Error() {
    if (Get().has_value()) return "";
    return Get().error().message;
  }

 private:
  std::shared_ptr<std::optional<core::Result<T>>> state_ =
      std::make_shared<std::optional<core::Result<T>>>();
};

// A registry with everything around it. Restart() makes a new one from what the
// store has.
class Tailnet {
 public:
  using Mode = storage::MemoryStore::Mode;

  explicit Tailnet(RegistryOptions options = {}, Mode mode = Mode::kImmediate)
      : options_(std::move(options)), mode_(mode) {
    store_ = std::make_unique<storage::MemoryStore>(mode);
    Open();
  }

  void Restart() {
    const auto records = store_->records();
    registry_.reset();
    store_ = std::make_unique<storage::MemoryStore>(mode_, records);
    Open();
  }
  void set_options(RegistryOptions options) { options_ = std::move(options); }

  Registry& registry() { return *registry_; }
  storage::MemoryStore& store() { return *store_; }
  ManualLoop& loop() { return loop_; }
  Recorder& recorder() { return recorder_; }
  void Settle() { loop_.Run(); }

  // Everything pending commits, and what follows from it.
  void CommitAll() {
    do {
      store_->CompleteAll();
      loop_.Run();
    } while (store_->pending() > 0);
  }

  UserId AddUser(const std::string& name) {
    Outcome<UserId> outcome;
    registry_->CreateUser({.name = name, .display_name = {}, .email = {}, .picture_url = {}},
                          outcome.Callback());
    Finish();
    EXPECT_EQ(outcome.Error(), "");
    return outcome.Get().value_or(0);
  }
  CreatedPreAuthKey AddKey(NewPreAuthKey key) {
    Outcome<CreatedPreAuthKey> outcome;
    registry_->CreatePreAuthKey(std::move(key), outcome.Callback());
    Finish();
    EXPECT_EQ(outcome.Error(), "");
    return outcome.Get().value_or(CreatedPreAuthKey{});
  }
  static NodeRegistration Request(std::uint64_t machine, std::uint64_t node_key,
                                  const std::string& hostname, const std::string& more = "") {
    return {.machine_key = Machine(machine),
            .node_key = NodeKey(node_key),
            .hostinfo = "{\"Hostname\":\"" + hostname + "\",\"OS\":\"linux\"" + more + "}",
            .requested_expiry = {},
            .capability_version = 140,
            .ephemeral = false};
  }
  core::Result<Registered> JoinWithKey(NodeRegistration request, const std::string& key) {
    Outcome<Registered> outcome;
    registry_->RegisterWithKey(std::move(request), key, outcome.Callback());
    Finish();
    return outcome.Get();
  }
  core::Result<Registered> JoinForUser(NodeRegistration request, UserId user) {
    Outcome<Registered> outcome;
    registry_->RegisterForUser(std::move(request), user, storage::RegisterMethod::kCli,
                               outcome.Callback());
    Finish();
    return outcome.Get();
  }
  // A node of this user; its machine and node key carry this number.
  NodeId AddNode(UserId user, std::uint64_t number, const std::string& hostname = "host",
                 const std::string& more = "") {
    auto joined = JoinForUser(Request(number, number, hostname, more), user);
    EXPECT_TRUE(joined.has_value()) << (joined ? "" : joined.error().message);
    return joined ? joined->id : 0;
  }
  // The error text, or nothing.
  template <class Call>
  std::string Do(Call call) {
    Outcome<void> outcome;
    call(outcome.Callback());
    Finish();
    return outcome.Error();
  }
  std::string Report(NodeId id, NodeReport report) {
    return Do(
        [&](Completion<> done) { registry_->ReportNode(id, std::move(report), std::move(done)); });
  }
  const Node& Get(NodeId id) {
    const Node* node = registry_->FindNode(id);
    if (node != nullptr) return *node;
    ADD_FAILURE() << "no node " << id;
    static const Node none;
    return none;
  }

 private:
  void Open() {
    registry_ = std::make_unique<Registry>(loop_, *store_, options_);
    const auto loaded = registry_->Load();
    EXPECT_TRUE(loaded.has_value()) << (loaded ? "" : loaded.error().message);
    recorder_.Take();
    registry_->AddListener(recorder_);
  }
  void Finish() {
    if (mode_ == Mode::kManual) {
      CommitAll();
    } else {
      Settle();
    }
  }

  ManualLoop loop_;
  Recorder recorder_;
  RegistryOptions options_;
  Mode mode_;
  std::unique_ptr<storage::MemoryStore> store_;
  std::unique_ptr<Registry> registry_;
};

}  // namespace ringscale::control::testing
