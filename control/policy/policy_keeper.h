// Which policy is in force: read from a file or from the store, checked before
// anything changes, and applied to the tailnet. Control thread only.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/policy/error.h"
#include "control/policy/policy_index.h"
#include "control/state/registry.h"
#include "core/engine/loop.h"

namespace ringscale::control {

struct PolicyOptions {
  bool database = false;  // else from `path`
  std::string path;       // empty: no policy
};

// The text of a policy file; bounded.
core::Result<std::string> ReadPolicyFile(const std::string& path);

class PolicyKeeper {
 public:
  struct Hooks {
    // The index answers differently from now on.
    std::function<void()> changed;
    // What is wrong with the policy that should be in force; empty: nothing.
    std::function<void(std::string problem)> problem;
  };

  // `registry` must outlive this.
  PolicyKeeper(core::engine::Loop& loop, Registry& registry, PolicyOptions options);

  ~PolicyKeeper();
  PolicyKeeper(const PolicyKeeper&) = delete;
  PolicyKeeper& operator=(const PolicyKeeper&) = delete;

  [[nodiscard]] PolicyIndex& index() { return index_; }

  // Puts the stored policy in force. A policy that cannot be read is an error: to
  // start without it would let everybody in. Failing tests are only a problem.
  core::Result<> Start(Hooks hooks);
  // Reads the file again; a bad one changes nothing.
  void Reload();
  // Whether the policy that another configuration names could be in force; changes
  // nothing.
  struct Candidate;
  [[nodiscard]] core::Result<Candidate> Read(const PolicyOptions& options) const;
  // Puts it in force and goes by this configuration from now on.
  void Use(PolicyOptions options, Candidate candidate);
  // The same if the file is another than last time.
  void Watch();

  // To be told of every change, before anybody who asks the index.
  void OnChange(const Change& change);

  // --- for operators ---
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] bool writable() const { return options_.database; }
  // A policy that could be put in force.
  struct Candidate {
    std::string text;
    std::shared_ptr<const policy::Program> program;  // null: no policy
    std::unique_ptr<policy::Engine> engine;
  };
  [[nodiscard]] std::expected<Candidate, policy::PolicyError> Check(std::string text) const;
  // What it would change: for nodes that are treated alike, who they are and below,
  // indented, which peers they gain and lose and which rules they get. No more groups
  // than make `limit` lines.
  [[nodiscard]] std::vector<std::string> Effects(const Candidate& candidate,
                                                 std::size_t limit = 50) const;
  // What works differently here than at the hosted service.
  [[nodiscard]] static std::vector<std::string> Remarks(const Candidate& candidate);
  // Stores and applies; refused unless policies are kept in the store.
  void Set(std::string text, std::string author, Completion<std::uint64_t> done);
  // Why `src` may or may not reach `dst`: names of nodes, or aliases of the policy.
  // `port` 0: any.
  [[nodiscard]] core::Result<std::vector<std::string>> Explain(std::string_view src,
                                                               std::string_view dst,
                                                               std::uint16_t port) const;

  // --- for the registry ---
  [[nodiscard]] bool MayOwnTag(UserId user, std::string_view tag) const;
  [[nodiscard]] bool TagExists(std::string_view tag) const;
  [[nodiscard]] std::vector<core::IpPrefix> AddressPools(UserId user,
                                                         std::span<const std::string> tags) const;

  // --- for the server ---
  // What the policy adds to the server's own settings. ApplyTo(map) is false when
  // the policy would leave no relay; the map stays as it is then.
  void ApplyTo(DnsSettings& dns) const;
  [[nodiscard]] bool ApplyTo(DerpMap& map) const;

 private:
  struct FileState {
    std::int64_t modified_ns = 0;
    std::uint64_t size = 0;
    std::uint64_t inode = 0;
    bool operator==(const FileState&) const = default;
  };
  [[nodiscard]] std::optional<FileState> LookAtFile() const;
  [[nodiscard]] core::Result<std::string> TextOf(const PolicyOptions& options) const;
  [[nodiscard]] std::expected<std::shared_ptr<const policy::Program>, policy::PolicyError> Compile(
      std::string_view text) const;
  // An engine beside the one in force, with the nodes of now.
  [[nodiscard]] std::unique_ptr<policy::Engine> Trial(
      std::shared_ptr<const policy::Program> program) const;
  void Apply(Candidate candidate);
  void Report(std::string problem);
  void ApproveLater();
  void Approve();
  [[nodiscard]] const Node* NodeNamed(std::string_view name) const;

  core::engine::Loop& loop_;
  Registry& registry_;
  PolicyOptions options_;
  Hooks hooks_;
  PolicyIndex index_;
  std::string text_;
  std::shared_ptr<const policy::Program> program_;
  std::optional<FileState> file_;
  core::engine::TimerId approve_timer_;
  bool approving_ = false;
};

}  // namespace ringscale::control
