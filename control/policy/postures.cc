// Device postures: conditions on what a server knows of a node by itself.
#include <algorithm>
#include <array>

#include "control/policy/document_reader.h"
#include "control/policy/text_forms.h"

namespace ringscale::control::policy {
namespace {

struct NamedOp {
  std::string_view text;
  PostureCondition::Op op;
};
// Longer ones first: "<=" begins as "<" does.
constexpr std::array<NamedOp, 10> kOps = {{
    {"NOT SET", PostureCondition::Op::kNotSet},
    {"IS SET", PostureCondition::Op::kIsSet},
    {"NOT IN", PostureCondition::Op::kNotIn},
    {"IN", PostureCondition::Op::kIn},
    {"==", PostureCondition::Op::kEqual},
    {"!=", PostureCondition::Op::kNotEqual},
    {"<=", PostureCondition::Op::kLessEqual},
    {">=", PostureCondition::Op::kGreaterEqual},
    {"<", PostureCondition::Op::kLess},
    {">", PostureCondition::Op::kGreater},
}};

// A value: 'text', "text", a number or true and false.
std::optional<std::string> ReadValue(std::string_view text) {
  text = Trim(text);
  if (text.empty()) return std::nullopt;
  const char quote = text[0];
  if (quote == '\'' || quote == '"') {
    if (text.size() < 2 || text.back() != quote) return std::nullopt;
    return std::string(text.substr(1, text.size() - 2));
  }
  if (text.find_first_of(" ,[]'\"") != std::string_view::npos) return std::nullopt;
  return std::string(text);
}

bool ReadList(std::string_view text, std::vector<std::string>& out) {
  text = Trim(text);
  if (!text.starts_with('[') || !text.ends_with(']')) return false;
  text = text.substr(1, text.size() - 2);
  while (!Trim(text).empty()) {
    const auto comma = text.find(',');
    auto value = ReadValue(text.substr(0, comma));
    if (!value) return false;
    out.push_back(std::move(*value));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return !out.empty();
}

}  // namespace

Checked<PostureCondition> ReadPostureCondition(const HuValue& source) {
  const auto wrong = [&](std::string_view why) {
    return Refuse(source.at,
                  "invalid posture condition " + Quoted(source.text) + ": " + std::string(why));
  };
  std::string_view text = Trim(source.text);
  PostureCondition condition;
  const auto end = std::min(text.find_first_of(" =!<>"), text.size());
  condition.attribute = text.substr(0, end);
  if (!condition.attribute.contains(':')) return wrong("an attribute has the form namespace:name");
  text = Trim(text.substr(end));
  const auto* const found =
      std::ranges::find_if(kOps, [&](const NamedOp& op) { return text.starts_with(op.text); });
  if (found == kOps.end()) {
    return wrong("an operator is one of ==, !=, <, <=, >, >=, IN, NOT IN, IS SET, NOT SET");
  }
  condition.op = found->op;
  text = Trim(text.substr(found->text.size()));
  switch (condition.op) {
    case PostureCondition::Op::kIsSet:
    case PostureCondition::Op::kNotSet:
      if (!text.empty()) return wrong("nothing may follow IS SET");
      break;
    case PostureCondition::Op::kIn:
    case PostureCondition::Op::kNotIn:
      if (!ReadList(text, condition.values)) return wrong("IN needs a list, as ['a', 'b']");
      break;
    default: {
      auto value = ReadValue(text);
      if (!value) return wrong("a value is 'text', a number, true or false");
      condition.values.push_back(std::move(*value));
    }
  }
  return condition;
}

DocumentReader::Field DocumentReader::PostureOfSource(PostureAttributes& out) {
  return {"srcpostureattrs", [&out](const HuValue& object) -> Checked<> {
            if (!object.is_object()) return Refuse(object.at, "srcPostureAttrs must be an object");
            for (const auto& [name, at, value] : object.members) {
              if (!name.contains(':')) {
                return Refuse(at, "invalid posture attribute " + Quoted(name),
                              {"an attribute has the form namespace:name"});
              }
              switch (value.kind) {
                case HuValue::Kind::kString:
                case HuValue::Kind::kNumber:
                  out[name] = value.text;
                  break;
                case HuValue::Kind::kBool:
                  out[name] = value.boolean ? "true" : "false";
                  break;
                default:
                  return Refuse(value.at,
                                "the value of a posture attribute must be a string, a number, "
                                "true or false");
              }
            }
            return {};
          }};
}

Checked<> DocumentReader::Postures(const HuValue& object) {
  if (!object.is_object()) return Refuse(object.at, "postures must be an object");
  for (const auto& member : object.members) {
    if (!member.name.starts_with("posture:") || member.name.size() == 8) {
      return Refuse(member.at, "posture must start with 'posture:', got: " + Quoted(member.name));
    }
    auto& posture = out_.postures[member.name];
    auto read = [&](const HuValue& item, std::size_t) -> Checked<> {
      if (!item.is_string()) return Refuse(item.at, "a posture condition must be a string");
      auto condition = ReadPostureCondition(item);
      if (!condition) return std::unexpected(std::move(condition.error()));
      posture.push_back(std::move(*condition));
      return {};
    };
    if (auto done = Items(member.value, member.name, read); !done) return done;
  }
  return {};
}

}  // namespace ringscale::control::policy
