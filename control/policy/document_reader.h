// Walks a parsed policy and fills a Document: shape and spelling of everything.
// What names refer to is checked afterwards (document_check.h).
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "control/policy/document.h"
#include "control/policy/hujson.h"

namespace ringscale::control::policy {

// Of ipsets in ipsets.
inline constexpr std::size_t kMaxNesting = 64;

class DocumentReader {
 public:
  DocumentReader(Document& out, const DocumentLimits& limits) : out_(out), limits_(limits) {}
  Checked<> Read(const HuValue& root);

 private:
  struct Field {
    std::string_view name;  // lower case
    std::function<Checked<>(const HuValue&)> read;
  };
  // Reads the members of an object, whose names count without regard to case; a
  // name not listed is an error. null reads as if it was not there.
  Checked<> Fields(const HuValue& object, std::string_view what, const std::vector<Field>& fields);
  Checked<> Items(const HuValue& array, std::string_view what,
                  const std::function<Checked<>(const HuValue&, std::size_t)>& read);
  // How a member is read whose value is of one of the plain types.
  static Field Text(std::string_view name, std::string& out);
  static Field Flag(std::string_view name, bool& out);
  Field Texts(std::string_view name, std::vector<std::string>& out);
  static Field PostureOfSource(PostureAttributes& out);
  Field Aliases(std::string_view name, std::vector<Alias>& out);
  Checked<> ReadAliases(const HuValue& array, std::string_view what, std::vector<Alias>& out);
  Checked<Alias> OneAlias(const HuValue& text);
  Checked<> CountRule(Position at);

  Checked<> Groups(const HuValue& object);
  Checked<> Hosts(const HuValue& object);
  Checked<> IpSets(const HuValue& object);
  Checked<> TagOwners(const HuValue& object);
  Checked<> Postures(const HuValue& object);
  Checked<> Approvers(const HuValue& array, std::vector<Alias>& out);
  Checked<> AutoApprove(const HuValue& object);
  Checked<> Acl(const HuValue& object, std::size_t index);
  Checked<> AclDestination(const HuValue& text, Grant& grant);
  Checked<> GrantEntry(const HuValue& object, std::size_t index);
  Checked<> App(const HuValue& object, std::vector<AppCapability>& out);
  Checked<> Ssh(const HuValue& object, std::size_t index);
  Checked<> CheckPeriod(const HuValue& text, SshRule& rule);
  Checked<> NodeAttr(const HuValue& object, std::size_t index);
  Checked<> Pool(const HuValue& text, NodeAttribute& attribute);
  Checked<> Test(const HuValue& object, std::size_t index);
  Checked<> OneCgnatRoute(const HuValue& value);
  Checked<> Derp(const HuValue& object);
  Checked<> DerpRegions(const HuValue& object, DerpOverlay& overlay);
  Checked<> DnsRecords(const HuValue& array);
  Checked<> SshTestEntry(const HuValue& object, std::size_t index);

  Document& out_;
  DocumentLimits limits_;
  std::size_t rules_ = 0;
  std::size_t aliases_ = 0;
  std::vector<Grant> acls_;
  bool wrote_rules_ = false;  // `acls` or `grants` is there
};

// "node:os == 'linux'", "node:tsVersion >= '1.40'", "node:os IN ['macos','linux']".
Checked<PostureCondition> ReadPostureCondition(const HuValue& text);

}  // namespace ringscale::control::policy
