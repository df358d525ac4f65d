// What the named sets of addresses come to (`ipsets`): lists of steps that add and
// remove, in their order.
#include <algorithm>

#include "control/policy/document_reader.h"
#include "control/policy/text_forms.h"

namespace ringscale::control::policy {
namespace {

// Each turn from adding to removing passes over the whole set.
constexpr std::size_t kMaxTurns = 1000;

class Resolver {
 public:
  Resolver(Document& document, const DocumentLimits& limits)
      : document_(document), limits_(limits) {}

  Checked<> Run() {
    for (const auto& [name, steps] : document_.ip_sets) {
      if (auto done = Visit(name, 0); !done) return done;
    }
    for (auto& [name, set] : done_) {
      document_.ip_set_ranges[std::string(name)] = set.ranges();
    }
    return {};
  }

 private:
  Checked<> Visit(std::string_view name, std::size_t depth) {
    if (done_.contains(name)) return {};
    open_.push_back(name);
    AddressSet set;
    std::vector<AddressRange> pending;
    bool removing = false;
    std::size_t turns = 0;
    const auto apply = [&] {
      if (removing) {
        set.Remove(AddressSet(std::move(pending)));
      } else {
        set.Add(pending);
      }
      pending.clear();
    };
    for (const auto& step : document_.ip_sets.find(name)->second) {
      if (step.remove != removing) {
        if (++turns > kMaxTurns) {
          return Refuse(step.alias.at,
                        Quoted(name) + " turns between add and remove too often: the limit is " +
                            std::to_string(kMaxTurns));
        }
        apply();
        removing = step.remove;
      }
      if (auto done = Append(step.alias, depth, pending); !done) return done;
    }
    apply();
    open_.pop_back();
    ranges_ += set.ranges().size();
    if (ranges_ > limits_.max_set_ranges) {
      return Refuse({}, "ipsets hold too many ranges: the limit is " +
                            std::to_string(limits_.max_set_ranges));
    }
    done_[name] = std::move(set);
    return {};
  }

  Checked<> Append(const Alias& alias, std::size_t depth, std::vector<AddressRange>& out) {
    if (!alias.is(Alias::Kind::kIpSet)) {
      const auto ranges = LiteralRanges(document_, alias);
      out.insert(out.end(), ranges.begin(), ranges.end());
      return {};
    }
    if (std::ranges::find(open_, alias.name) != open_.end()) {
      return Refuse(alias.at, "ipset " + Quoted(alias.name) + " contains itself");
    }
    if (depth >= kMaxNesting) {
      return Refuse(alias.at,
                    "ipsets nested too deep: the limit is " + std::to_string(kMaxNesting));
    }
    const auto set = document_.ip_sets.find(alias.name);
    if (set == document_.ip_sets.end()) {
      return Refuse(alias.at, "ipset not defined in policy: " + Quoted(alias.name));
    }
    if (auto done = Visit(set->first, depth + 1); !done) return done;
    const auto& ranges = done_.find(set->first)->second.ranges();
    out.insert(out.end(), ranges.begin(), ranges.end());
    return {};
  }

  Document& document_;
  const DocumentLimits& limits_;
  std::map<std::string_view, AddressSet> done_;
  std::vector<std::string_view> open_;
  std::size_t ranges_ = 0;
};

}  // namespace

Checked<> DocumentReader::IpSets(const HuValue& object) {
  if (!object.is_object()) {
    return Refuse(object.at, "ipsets must be an object, got " + std::string(KindName(object.kind)));
  }
  for (const auto& member : object.members) {
    if (!member.name.starts_with("ipset:") || member.name.size() == 6) {
      return Refuse(member.at, "ipset must start with 'ipset:', got: " + Quoted(member.name));
    }
    auto& set = out_.ip_sets[member.name];
    const auto read = [&](const HuValue& item, std::size_t) -> Checked<> {
      HuValue target = item;
      IpSetStep step;
      // "add x" is what "x" means.
      for (const std::string_view word : {"add ", "remove "}) {
        if (!Trim(item.text).starts_with(word)) continue;
        target.text = Trim(item.text).substr(word.size());
        step.remove = word == "remove ";
      }
      auto alias = OneAlias(target);
      if (!alias) return std::unexpected(std::move(alias.error()));
      if (!alias->is(Alias::Kind::kAddress) && !alias->is(Alias::Kind::kHost) &&
          !alias->is(Alias::Kind::kIpSet) && !alias->is(Autogroup::kInternet)) {
        return Refuse(item.at,
                      "ipset may contain addresses, hosts, autogroup:internet and other ipsets, "
                      "got: " +
                          Quoted(item.text));
      }
      step.alias = std::move(*alias);
      set.push_back(std::move(step));
      return {};
    };
    if (auto done = Items(member.value, member.name, read); !done) return done;
  }
  return {};
}

Checked<> ResolveIpSets(Document& document, const DocumentLimits& limits) {
  return Resolver(document, limits).Run();
}

std::vector<AddressRange> LiteralRanges(const Document& document, const Alias& alias) {
  switch (alias.kind) {
    case Alias::Kind::kAddress:
      return {alias.range};
    case Alias::Kind::kHost:
      if (const auto host = document.hosts.find(alias.name); host != document.hosts.end()) {
        return {host->second};
      }
      return {};
    case Alias::Kind::kIpSet:
      if (const auto set = document.ip_set_ranges.find(alias.name);
          set != document.ip_set_ranges.end()) {
        return set->second;
      }
      return {};
    case Alias::Kind::kAutogroup:
      return alias.is(Autogroup::kInternet) ? InternetRanges() : std::vector<AddressRange>();
    default:
      return {};
  }
}

}  // namespace ringscale::control::policy
