#include "tools/cli/scenario_fields.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/json_reader.hpp"
#include "tools/cli/schemas.hpp"

namespace foretoken::cli {
namespace {

const nlohmann::json& resolved(const nlohmann::json& schema, const nlohmann::json& root) {
  const nlohmann::json* place = &schema;
  while (place->contains("$ref"))
    place = &root.at(
        nlohmann::json::json_pointer(place->at("$ref").get<std::string>().substr(1)));  // "#/definitions/model"
  return *place;
}

/// What the place may be: itself and its alternatives.
std::vector<const nlohmann::json*> alternatives(const nlohmann::json& schema, const nlohmann::json& root) {
  std::vector<const nlohmann::json*> all{&resolved(schema, root)};
  for (std::size_t i = 0; i < all.size(); ++i)
    for (const char* kind : {"oneOf", "anyOf", "allOf"})
      if (all[i]->contains(kind))
        for (const nlohmann::json& one : all[i]->at(kind)) all.push_back(&resolved(one, root));
  return all;
}

bool is_index(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

void require_scenario_field(const std::string& field) {
  const nlohmann::json root = nlohmann::json::parse(*schema_text("scenario"));
  std::vector<const nlohmann::json*> places{&root};
  std::string above = "a scenario";
  for (std::size_t begin = 0; begin <= field.size();) {
    const std::size_t end = std::min(field.find('.', begin), field.size());
    const std::string part = field.substr(begin, end - begin);
    std::vector<const nlohmann::json*> next;
    std::vector<std::string_view> members;
    for (const nlohmann::json* place : places)
      for (const nlohmann::json* one : alternatives(*place, root)) {
        if (is_index(part) && one->contains("items")) next.push_back(&one->at("items"));
        if (!one->contains("properties")) continue;
        for (const auto& [name, member] : one->at("properties").items()) {
          members.emplace_back(name);
          if (name == part) next.push_back(&member);
        }
      }
    if (next.empty()) {
      const std::string near = nearest_word(part, members);
      throw input_error("--set " + field + "=...", "",
                        members.empty() ? fmt::format("{} has no members", above)
                                        : fmt::format("\"{}\" is no member of {}", part, above),
                        !near.empty()     ? fmt::format("did you mean \"{}\"?", near)
                        : members.empty() ? "set it as a whole"
                                          : fmt::format("write one of {}", fmt::join(members, ", ")));
    }
    places = std::move(next);
    above = field.substr(0, end);
    begin = end + 1;
  }
}

}  // namespace foretoken::cli
