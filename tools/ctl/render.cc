#include "tools/ctl/render.h"

#include <yaml-cpp/emitter.h>
#include <yaml-cpp/emittermanip.h>

#include <algorithm>
#include <array>

#include "core/base/time.h"
#include "core/json/writer.h"

namespace ringscale::ctl {
namespace {

// `indent` < 0 = everything on one line.
void AppendJson(std::string& out, const Value& value, int indent) {
  const auto newline = [&out](int depth) {
    if (depth < 0) return;
    out += '\n';
    out.append(static_cast<std::size_t>(depth), '\t');
  };
  const int inner = indent < 0 ? -1 : indent + 1;
  switch (value.kind()) {
    case Value::Kind::kNull:
      out += "null";
      return;
    case Value::Kind::kBool:
      out += value.truth() ? "true" : "false";
      return;
    case Value::Kind::kNumber:
      out += value.text();
      return;
    case Value::Kind::kString:
      core::json::AppendQuoted(out, value.text());
      return;
    case Value::Kind::kArray: {
      if (value.items().empty()) {
        out += "[]";
        return;
      }
      out += '[';
      bool first = true;
      for (const Value& item : value.items()) {
        if (!first) out += ',';
        first = false;
        newline(inner);
        AppendJson(out, item, inner);
      }
      newline(indent);
      out += ']';
      return;
    }
    case Value::Kind::kObject: {
      if (value.members().empty()) {
        out += "{}";
        return;
      }
      out += '{';
      bool first = true;
      for (const auto& [name, member] : value.members()) {
        if (!first) out += ',';
        first = false;
        newline(inner);
        core::json::AppendQuoted(out, name);
        out += indent < 0 ? ":" : ": ";
        AppendJson(out, member, inner);
      }
      newline(indent);
      out += '}';
      return;
    }
  }
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

// True for text that every YAML reader takes as this very string without quotes.
bool IsPlainYaml(std::string_view text) {
  constexpr std::array<std::string_view, 12> kWords = {"null", "true", "false", "yes", "no",  "on",
                                                       "off",  "y",    "n",     "nan", "inf", "~"};
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-:@+*";
  if (text.empty() || text.size() > 256) return false;
  const char first = text.front();
  const bool letter = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z');
  if (!letter || text.back() == ':') return false;
  if (text.find_first_not_of(kPlain) != std::string_view::npos) return false;
  return std::ranges::find(kWords, Lower(text)) == kWords.end();
}

void EmitYaml(YAML::Emitter& out, const Value& value) {
  switch (value.kind()) {
    case Value::Kind::kNull:
      out << YAML::Null;
      return;
    case Value::Kind::kBool:
      out << value.truth();
      return;
    case Value::Kind::kNumber:
      out << value.text();
      return;
    case Value::Kind::kString:
      // Times are YAML timestamps, unquoted; addresses and names often are plain.
      if (!IsPlainYaml(value.text()) && !core::ParseRfc3339(value.text()) &&
          !core::IsGoZeroTime(value.text())) {
        out << YAML::DoubleQuoted;
      }
      out << value.text();
      return;
    case Value::Kind::kArray:
      if (value.items().empty()) out << YAML::Flow;
      out << YAML::BeginSeq;
      for (const Value& item : value.items()) EmitYaml(out, item);
      out << YAML::EndSeq;
      return;
    case Value::Kind::kObject:
      if (value.members().empty()) out << YAML::Flow;
      out << YAML::BeginMap;
      for (const auto& [name, member] : value.members()) {
        out << YAML::Key << Lower(name) << YAML::Value;
        EmitYaml(out, member);
      }
      out << YAML::EndMap;
      return;
  }
}

}  // namespace

std::optional<Format> ParseFormat(std::string_view text) {
  if (text.empty()) return Format::kHuman;
  if (text == "json") return Format::kJson;
  if (text == "json-line") return Format::kJsonLine;
  if (text == "yaml") return Format::kYaml;
  return std::nullopt;
}

std::string CompactJson(const Value& value) {
  std::string out;
  AppendJson(out, value, -1);
  return out;
}

std::string Render(const Value& value, Format format) {
  if (format == Format::kYaml) {
    YAML::Emitter out;
    out.SetIndent(4);
    EmitYaml(out, value);
    return out.c_str();
  }
  std::string out;
  AppendJson(out, value, format == Format::kJson ? 0 : -1);
  return out;
}

}  // namespace ringscale::ctl
