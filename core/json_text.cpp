#include "core/json_text.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace foretoken {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kLineMax = 120;
constexpr std::size_t kInlineMax = 90;

void append(std::string& out, const Json& value, std::size_t indent);

void append_numbers(std::string& out, const Json& list, std::size_t indent) {
  const std::string margin(indent + 2, ' ');
  out += "[\n";
  std::string line = margin;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string item = list[i].dump() + (i + 1 < list.size() ? "," : "");
    if (line.size() > margin.size() && line.size() + 1 + item.size() > kLineMax) {
      out += line + "\n";
      line = margin;
    }
    if (line.size() > margin.size()) line += ' ';
    line += item;
  }
  out += line + "\n" + std::string(indent, ' ') + "]";
}

void append_members(std::string& out, const Json& value, std::size_t indent) {
  const bool object = value.is_object();
  out += object ? "{\n" : "[\n";
  std::size_t left = value.size();
  for (auto it = value.begin(); it != value.end(); ++it) {
    out += std::string(indent + 2, ' ');
    if (object) out += Json(it.key()).dump() + ": ";
    append(out, *it, indent + 2);
    out += --left > 0 ? ",\n" : "\n";
  }
  out += std::string(indent, ' ') + (object ? "}" : "]");
}

void append(std::string& out, const Json& value, std::size_t indent) {
  const bool plain = !value.is_structured() ||
                     std::none_of(value.begin(), value.end(), [](const Json& item) { return item.is_structured(); });
  if (plain) {
    const std::string inline_text = value.dump();
    if (!value.is_structured() || inline_text.size() <= kInlineMax) {
      out += inline_text;
      return;
    }
  }
  if (value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_number(); }))
    append_numbers(out, value, indent);
  else append_members(out, value, indent);
}

}  // namespace

std::string readable_json(const nlohmann::json& value) {
  std::string out;
  append(out, value, 0);
  return out + "\n";
}

}  // namespace foretoken
