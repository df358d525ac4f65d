#include "control/policy/policy_keeper.h"

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "control/policy/policy_tests.h"
#include "control/policy/text_forms.h"
#include "core/crypto/key_file.h"
#include "core/obs/log.h"

namespace ringscale::control {
namespace {

constexpr std::size_t kMaxFile = std::size_t{4} * 1024 * 1024;

bool Blank(std::string_view text) {
  return policy::Trim(text).empty();
}

std::vector<policy::PolicyUser> UsersOf(const Registry& registry) {
  std::vector<policy::PolicyUser> users;
  // Who came first owns the tailnet.
  for (const auto& [id, row] : registry.users()) {
    users.push_back(PolicyUserOf(row, users.empty()));
  }
  return users;
}

}  // namespace

core::Result<std::string> ReadPolicyFile(const std::string& path) {
  auto text = core::ReadPublicFile(path, kMaxFile);
  if (!text) text.error().message.insert(0, "expected a policy file: ");
  return text;
}

PolicyKeeper::PolicyKeeper(core::engine::Loop& loop, Registry& registry, PolicyOptions options)
    : loop_(loop),
      registry_(registry),
      options_(std::move(options)),
      index_(
          [this](const auto& visit) {
            for (const auto& [id, node] : registry_.nodes()) visit(node);
          },
          [this](const core::IpPrefix& prefix) { return registry_.PrimaryFor(prefix); }) {}

PolicyKeeper::~PolicyKeeper() {
  if (approving_) loop_.CancelTimer(approve_timer_);
}

std::expected<std::shared_ptr<const policy::Program>, policy::PolicyError> PolicyKeeper::Compile(
    std::string_view text) const {
  auto document = policy::ParseDocument(text);
  if (!document) return std::unexpected(std::move(document.error()));
  return policy::Program::Compile(std::make_shared<const policy::Document>(std::move(*document)),
                                  UsersOf(registry_));
}

std::unique_ptr<policy::Engine> PolicyKeeper::Trial(
    std::shared_ptr<const policy::Program> program) const {
  auto engine = std::make_unique<policy::Engine>(std::move(program), policy::EngineSettings{});
  for (const auto& [id, node] : registry_.nodes()) engine->Put(PolicyNodeOf(node));
  return engine;
}

std::expected<PolicyKeeper::Candidate, policy::PolicyError> PolicyKeeper::Check(
    std::string text) const {
  Candidate candidate;
  candidate.text = std::move(text);
  if (Blank(candidate.text)) return candidate;
  auto program = Compile(candidate.text);
  if (!program) return std::unexpected(std::move(program.error()));
  candidate.program = std::move(*program);
  candidate.engine = Trial(candidate.program);
  if (auto failed = policy::RunPolicyTests(*candidate.engine)) {
    return std::unexpected(std::move(*failed));
  }
  return candidate;
}

core::Result<> PolicyKeeper::Start(Hooks hooks) {
  hooks_ = std::move(hooks);
  file_ = LookAtFile();
  auto text = TextOf(options_);
  if (!text) return core::Forward(text);
  Candidate candidate{.text = std::move(*text), .program = nullptr, .engine = nullptr};
  if (Blank(candidate.text)) return {};
  auto program = Compile(candidate.text);
  if (!program) {
    return core::Fail(core::ErrorCode::kInvalid,
                      "the policy cannot be used: " + program.error().text());
  }
  candidate.program = std::move(*program);
  Apply(std::move(candidate));
  const policy::Document& document = program_->document();
  if (document.tests.empty() && document.ssh_tests.empty()) return {};
  if (const auto failed = policy::RunPolicyTests(*Trial(program_))) Report(failed->text());
  return {};
}

std::optional<PolicyKeeper::FileState> PolicyKeeper::LookAtFile() const {
  struct stat info = {};
  if (stat(options_.path.c_str(), &info) != 0) return std::nullopt;
  return FileState{.modified_ns = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec,
                   .size = static_cast<std::uint64_t>(info.st_size),
                   .inode = static_cast<std::uint64_t>(info.st_ino)};
}

core::Result<std::string> PolicyKeeper::TextOf(const PolicyOptions& options) const {
  if (!options.database) {
    return options.path.empty() ? core::Result<std::string>("") : ReadPolicyFile(options.path);
  }
  const auto& stored = registry_.policies();
  return stored.empty() ? "" : stored.rbegin()->second.text;
}

core::Result<PolicyKeeper::Candidate> PolicyKeeper::Read(const PolicyOptions& options) const {
  auto text = TextOf(options);
  if (!text) return core::Forward(text);
  auto candidate = Check(std::move(*text));
  if (!candidate) return core::Fail(core::ErrorCode::kInvalid, candidate.error().text());
  return std::move(*candidate);
}

void PolicyKeeper::Use(PolicyOptions options, Candidate candidate) {
  options_ = std::move(options);
  file_.reset();  // what it was like before it was read is not known
  Report("");
  if (candidate.text != text_) Apply(std::move(candidate));
}

void PolicyKeeper::Report(std::string problem) {
  // One line, for logs and /health.
  for (std::size_t at = 0; (at = problem.find('\n', at)) != std::string::npos;) {
    problem.replace(at, 1, "; ");
  }
  if (!problem.empty()) core::LogError("policy", problem);
  if (hooks_.problem) hooks_.problem(std::move(problem));
}

void PolicyKeeper::Reload() {
  if (options_.database || options_.path.empty()) return;
  file_ = LookAtFile();
  auto text = TextOf(options_);
  if (!text) return Report(text.error().message + "; the policy of before stays in force");
  // An empty file is more likely one that is being written than a wish.
  if (Blank(*text)) return Report("the policy file is empty; the policy of before stays in force");
  auto candidate = Check(std::move(*text));
  if (!candidate) {
    return Report(candidate.error().text() + "; the policy of before stays in force");
  }
  Report("");
  if (candidate->text == text_) return;
  Apply(std::move(*candidate));
  core::LogInfo("policy", "another policy is in force", {{"path", options_.path}});
}

void PolicyKeeper::Watch() {
  if (options_.database || options_.path.empty()) return;
  if (LookAtFile() != file_) Reload();
}

void PolicyKeeper::Apply(Candidate candidate) {
  text_ = std::move(candidate.text);
  program_ = std::move(candidate.program);
  // The host of the URL is never looked up: clients ask over the connection that
  // they have.
  index_.Use(program_,
             {.server_url = std::string(policy::kNoiseBaseUrl), .https_certificates = false});
  if (hooks_.changed) hooks_.changed();
  ApproveLater();
}

void PolicyKeeper::OnChange(const Change& change) {
  switch (change.kind) {
    case Change::Kind::kUserChanged: {
      if (!program_) break;
      auto program = Compile(text_);
      if (!program) {
        Report(program.error().text() + "; the change of users has no effect on the policy");
        break;
      }
      Apply({.text = text_, .program = std::move(*program), .engine = nullptr});
      break;
    }
    case Change::Kind::kNodeAdded:
    case Change::Kind::kNodeReplaced:
      if (program_ && change.node != nullptr && !change.node->announced_routes.empty()) {
        ApproveLater();
      }
      break;
    default:
      break;
  }
}

// Changes must not be started while one is being told.
void PolicyKeeper::ApproveLater() {
  if (approving_ || !program_) return;
  approving_ = true;
  approve_timer_ = loop_.After(core::Duration{}, [this] {
    approving_ = false;
    Approve();
  });
}

void PolicyKeeper::Approve() {
  if (!program_) return;
  for (const auto& [id, node] : registry_.nodes()) {
    if (node.announced_routes.empty()) continue;
    auto routes = node.row.approved_routes;
    for (const auto& route : program_->AutoApproved(PolicyNodeOf(node), node.announced_routes)) {
      if (std::ranges::find(routes, route) == routes.end()) routes.push_back(route);
    }
    if (routes.size() == node.row.approved_routes.size()) continue;
    registry_.ApproveRoutes(id, std::move(routes), [id](const core::Result<>& done) {
      if (!done) {
        core::LogWarn("policy", "routes could not be approved",
                      {{"node", id}, {"error", done.error().message}});
      }
    });
  }
}

void PolicyKeeper::Set(std::string text, std::string author, Completion<std::uint64_t> done) {
  if (!options_.database) {
    return done(core::Fail(core::ErrorCode::kInvalid,
                           "update is disabled for modes other than 'database'"));
  }
  auto candidate = Check(std::move(text));
  if (!candidate) {
    return done(core::Fail(core::ErrorCode::kInvalid, candidate.error().text()));
  }
  std::string stored = candidate->text;
  auto kept = std::make_shared<Candidate>(std::move(*candidate));
  registry_.SavePolicy(
      std::move(stored), std::move(author),
      [this, kept, done = std::move(done)](core::Result<std::uint64_t> saved) mutable {
        if (saved) {
          Report("");
          Apply(std::move(*kept));
        }
        done(std::move(saved));
      });
}

std::vector<std::string> PolicyKeeper::Remarks(const Candidate& candidate) {
  std::vector<std::string> out;
  if (!candidate.program) return out;
  const policy::Document& document = candidate.program->document();
  const auto remark = [&](std::string text) {
    if (std::ranges::find(out, text) == out.end()) out.push_back(std::move(text));
  };
  for (const auto& attribute : document.node_attributes) {
    for (const auto& name : attribute.attr) {
      if (NotServed(name)) remark("nodeAttrs: " + name + " is not served here and is withheld");
    }
  }
  const auto service = [&](const policy::Alias& alias) {
    if (alias.is(policy::Alias::Kind::kService)) {
      remark("services are not served here: " + alias.name + " leads nowhere");
    }
  };
  for (const auto& grant : document.grants) {
    for (const auto& dst : grant.dst) service(dst.alias);
  }
  for (const auto& [name, conditions] : document.postures) {
    for (const auto& condition : conditions) {
      if (policy::IsKnownAttribute(condition.attribute)) continue;
      remark(name + ": " + condition.attribute + " is not known here, as if it was not set");
    }
  }
  return out;
}

const Node* PolicyKeeper::NodeNamed(std::string_view name) const {
  if (const Node* node = registry_.FindNodeByName(name)) return node;
  if (const auto ip = core::IpAddress::Parse(name)) return registry_.FindNodeByAddress(*ip);
  return nullptr;
}

bool PolicyKeeper::MayOwnTag(UserId user, std::string_view tag) const {
  return program_ && program_->MayOwnTag(tag, user, {});
}

bool PolicyKeeper::TagExists(std::string_view tag) const {
  return !program_ || program_->document().tag_owners.contains(tag);
}

std::vector<core::IpPrefix> PolicyKeeper::AddressPools(UserId user,
                                                       std::span<const std::string> tags) const {
  if (!program_) return {};
  policy::PolicyNode node;
  node.user = user;
  node.tags.assign(tags.begin(), tags.end());
  return program_->AddressPools(node);
}

void PolicyKeeper::ApplyTo(DnsSettings& dns) const {
  if (!program_) return;
  const auto& records = program_->document().extra_dns_records;
  dns.extra_records.insert(dns.extra_records.end(), records.begin(), records.end());
}

bool PolicyKeeper::ApplyTo(DerpMap& map) const {
  const auto* overlay =
      program_ && program_->document().derp_map ? &*program_->document().derp_map : nullptr;
  return overlay == nullptr || ApplyDerpOverlay(map, *overlay);
}

}  // namespace ringscale::control
