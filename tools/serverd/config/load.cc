#include "tools/serverd/config/load.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/fd.h"
#include "tools/serverd/config/checks.h"
#include "tools/serverd/config/keys.h"
#include "tools/serverd/config/toml_file.h"

namespace ringscale::serverd {
namespace {

constexpr std::string_view kConfigVariable = "RINGSCALE_CONFIG";
constexpr std::string_view kPrefix = "RINGSCALE_";
constexpr std::string_view kRootDataDir = "/var/lib/ringscale";
constexpr std::size_t kMaxProblems = 20;

// Collects the values of all sources, later ones win, and everything wrong.
class Loader {
 public:
  // `where` says where the value comes from: "ringscale.toml:12".
  void Set(const Key& key, const Value& value, const std::string& where) {
    config_.origins.by_key[std::string(key.path)] = where;
    if (auto found = key.set(config_, Resolve(key, value))) {
      Report(where, key.path, "expected " + std::string(key.expected) + ", found " + *found);
    }
  }

  void SetFlag(std::string_view path, const std::optional<std::string>& text,
               std::string_view flag) {
    if (text) Set(*FindKey(path), Value::Untyped(*text), std::string(flag));
  }

  void AddFile(std::string_view text, const std::string& name) {
    auto entries = ReadToml(text, name);
    if (!entries) return Add(std::move(entries.error().message));
    for (const TomlEntry& entry : *entries) {
      const std::string where = name + ":" + std::to_string(entry.line);
      if (const Key* key = FindKey(entry.path)) {
        Set(*key, entry.value, where);
      } else if (IsSection(entry.path)) {
        Report(where, entry.path, "expected a section, found " + Describe(entry.value));
      } else {
        const bool section = entry.value.kind == Value::Kind::kTable;
        Add(where + ": unknown " + (section ? "section " : "key ") + entry.path +
            Advice(entry.path));
      }
    }
  }

  void AddEnvironment(const std::map<std::string, std::string>& environment) {
    std::map<std::string, const Key*> names;
    std::vector<std::string_view> candidates;
    candidates.reserve(Keys().size());
    for (const Key& key : Keys()) names.emplace(EnvironmentName(key.path), &key);
    for (const auto& [name, key] : names) {
      candidates.push_back(std::string_view(name).substr(kPrefix.size()));
    }
    for (const auto& [name, text] : environment) {
      if (!name.starts_with(kPrefix) || name == kConfigVariable) continue;
      if (const auto known = names.find(name); known != names.end()) {
        Set(*known->second, Value::Untyped(text), "$" + name);
        continue;
      }
      // Not refused: containers are given variables of that form for other reasons.
      const std::string_view meant =
          Nearest(std::string_view(name).substr(kPrefix.size()), candidates);
      if (meant.empty()) continue;
      config_.source_warnings.push_back("the environment variable " + name +
                                        " has no effect; did you mean " + std::string(kPrefix) +
                                        std::string(meant) + "?");
    }
  }

  void Add(std::string problem) {
    if (problems_.size() < kMaxProblems) problems_.push_back(std::move(problem));
  }

  Config& config() { return config_; }

  core::Result<Config> Finish() {
    if (problems_.empty()) {
      CheckKeysTogether(config_, [this](BlamedKeys keys, const std::string& message) {
        Add(config_.Blame(keys, {core::ErrorCode::kInvalid, message}).message);
      });
    }
    if (problems_.empty()) return std::move(config_);
    std::string message;
    for (const auto& problem : problems_) message += (message.empty() ? "" : "\n") + problem;
    return core::Fail(core::ErrorCode::kInvalid, std::move(message));
  }

 private:
  void Report(const std::string& where, std::string_view key, const std::string& message) {
    Add(where + ": " + std::string(key) + ": " + message);
  }

  // Text that stands for a list or a table: TOML, or items between commas.
  static Value Resolve(const Key& key, const Value& value) {
    if (!value.untyped || !key.structured) return value;
    const std::string& text = value.text;
    if (text.starts_with('[') || text.starts_with('{')) {
      // "[::1]:80" is an address, no list.
      if (auto parsed = ReadTomlValue(text)) return *parsed;
    }
    if (text.find(',') == std::string::npos && !text.empty()) return value;
    Value list;
    list.kind = Value::Kind::kList;
    for (std::size_t start = 0; !text.empty() && start <= text.size();) {
      const std::size_t end = std::min(text.find(',', start), text.size());
      std::size_t first = start;
      std::size_t last = end;
      while (first < last && text[first] == ' ') ++first;
      while (last > first && text[last - 1] == ' ') --last;
      list.items.push_back(Value::Untyped(text.substr(first, last - first)));
      start = end + 1;
    }
    return list;
  }

  Config config_;
  std::vector<std::string> problems_;
};

std::string Lookup(const std::map<std::string, std::string>& environment, std::string_view name) {
  const auto found = environment.find(std::string(name));
  return found == environment.end() ? "" : found->second;
}

core::Result<std::string> ReadConfigFile(const std::string& path) {
  const core::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[16384];
  ssize_t size = file.valid() ? 1 : -1;
  while (size > 0 && text.size() <= kMaxTomlBytes) {
    size = ::read(file.get(), buffer, sizeof(buffer));
    if (size < 0 && errno == EINTR)
      size = 1;
    else if (size > 0)
      text.append(buffer, static_cast<std::size_t>(size));
  }
  if (size < 0) return core::FailErrno("reading the configuration " + path, errno);
  return text;
}

std::string DefaultDataDir(const ConfigSurroundings& surroundings) {
  if (surroundings.is_root) return std::string(kRootDataDir);
  // Relative paths in it are to be ignored (XDG Base Directory Specification).
  if (const auto dir = Lookup(surroundings.environment, "XDG_DATA_HOME"); dir.starts_with('/')) {
    return dir + "/ringscale";
  }
  const std::string home = Lookup(surroundings.environment, "HOME");
  return home.empty() ? std::string(kRootDataDir) : home + "/.local/share/ringscale";
}

}  // namespace

core::Result<Config> LoadConfigIn(const ConfigOverrides& overrides,
                                  const ConfigSurroundings& surroundings) {
  Loader loader;
  std::string path = overrides.config_path.value_or("");
  if (path.empty()) path = Lookup(surroundings.environment, kConfigVariable);
  if (path.empty()) {
    for (const auto& candidate : surroundings.search_paths) {
      if (::access(candidate.c_str(), F_OK) != 0) continue;
      path = candidate;
      break;
    }
  }
  if (!path.empty()) {
    const auto text = ReadConfigFile(path);
    if (!text) return std::unexpected(text.error());
    loader.config().source = path;
    loader.AddFile(*text, path);
  }
  loader.AddEnvironment(surroundings.environment);
  for (const auto& setting : overrides.settings) {
    loader.SetFlag(setting.key, setting.value, setting.flag);
  }
  if (!overrides.listen.empty()) {
    Value list;
    list.kind = Value::Kind::kList;
    for (const auto& item : overrides.listen) list.items.push_back(Value::Untyped(item));
    // "--listen auto" is the word, no list.
    const bool alone = overrides.listen.size() == 1;
    loader.Set(*FindKey("listen"), alone ? list.items.front() : list, "--listen");
  }
  loader.SetFlag("server_url", overrides.server_url, "--server-url");
  loader.SetFlag("data_dir", overrides.data_dir, "--data-dir");
  loader.SetFlag("log.level", overrides.log_level, "--log-level");
  loader.SetFlag("unix_socket.path", overrides.socket, "--socket");
  if (loader.config().data_dir.empty()) loader.config().data_dir = DefaultDataDir(surroundings);
  return loader.Finish();
}

core::Result<Config> LoadConfig(const ConfigOverrides& overrides) {
  ConfigSurroundings surroundings;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    surroundings.environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  surroundings.is_root = ::geteuid() == 0;
  surroundings.search_paths = {"/etc/ringscale/ringscale.toml", "./ringscale.toml"};
  return LoadConfigIn(overrides, surroundings);
}

core::Result<Config> ParseConfig(std::string_view toml, std::string_view name) {
  Loader loader;
  loader.AddFile(toml, std::string(name));
  loader.config().source = name;
  if (loader.config().data_dir.empty()) loader.config().data_dir = kRootDataDir;
  return loader.Finish();
}

}  // namespace ringscale::serverd
