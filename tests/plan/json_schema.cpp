#include "tests/plan/json_schema.hpp"

#include <algorithm>
#include <cmath>
#include <regex>
#include <set>
#include <stdexcept>

namespace foretoken::plan::test {

using Json = nlohmann::json;

namespace {

const std::set<std::string> kAnnotations{"$schema", "title", "description", "default", "examples", "definitions"};
const std::set<std::string> kRules{"$ref",       "type",      "enum",     "const",
                                   "properties", "required",  "minimum",  "maximum",
                                   "minLength",  "maxLength", "pattern",  "additionalProperties",
                                   "items",      "minItems",  "maxItems", "anyOf",
                                   "allOf",      "if",        "then",     "else"};

bool has_type(const Json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "number") return value.is_number();
  // Draft-07: a number without fraction is an integer, however it is written.
  if (type == "integer") return value.is_number() && value.get<double>() == std::floor(value.get<double>());
  throw std::runtime_error("type " + type);
}

}  // namespace

const Json& JsonSchema::resolved(const Json& schema) const {
  if (!schema.is_object() || !schema.contains("$ref")) return schema;
  for (const auto& item : schema.items())
    if (item.key() != "$ref" && !kAnnotations.contains(item.key()))
      throw std::runtime_error("draft-07 ignores \"" + item.key() + "\" beside $ref");
  const std::string& ref = schema.at("$ref").get_ref<const std::string&>();
  return resolved(root_.at(Json::json_pointer(ref.substr(1))));  // "#/definitions/..."
}

std::vector<std::string> JsonSchema::check(const Json& value) const {
  std::vector<std::string> findings;
  check(value, root_, "", findings);
  return findings;
}

bool JsonSchema::fits(const Json& value, const Json& schema) const {
  std::vector<std::string> findings;
  check(value, schema, "", findings);
  return findings.empty();
}

void JsonSchema::check(const Json& value, const Json& written, const std::string& pointer,
                       std::vector<std::string>& findings) const {
  const Json& schema = resolved(written);
  if (schema.is_boolean()) {
    if (!schema.get<bool>()) findings.push_back(pointer + ": is not allowed here");
    return;
  }
  for (const auto& item : schema.items())
    if (!kAnnotations.contains(item.key()) && !kRules.contains(item.key()))
      throw std::runtime_error("the checker does not know \"" + item.key() + "\"");
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) findings.push_back(pointer + ": " + value.dump().substr(0, 60) + " " + what);
  };
  const auto rule = [&](const char* key) { return schema.contains(key) ? &schema.at(key) : nullptr; };

  if (const Json* type = rule("type")) {
    const Json types = type->is_array() ? *type : Json::array({*type});
    require(std::any_of(types.begin(), types.end(), [&](const Json& one) { return has_type(value, one); }),
            "is no " + type->dump());
  }
  if (const Json* constant = rule("const")) require(value == *constant, "is not " + constant->dump());
  if (const Json* options = rule("enum"))
    require(std::find(options->begin(), options->end(), value) != options->end(), "is none of " + options->dump());
  if (value.is_number()) {
    if (const Json* least = rule("minimum")) require(value >= *least, "is below " + least->dump());
    if (const Json* most = rule("maximum")) require(value <= *most, "is above " + most->dump());
  }
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (const Json* least = rule("minLength")) require(text.size() >= *least, "is shorter than " + least->dump());
    if (const Json* most = rule("maxLength")) require(text.size() <= *most, "is longer than " + most->dump());
    if (const Json* pattern = rule("pattern"))
      require(std::regex_search(text, std::regex(pattern->get<std::string>())), "does not match " + pattern->dump());
  }
  if (value.is_array()) {
    if (const Json* least = rule("minItems"))
      require(value.size() >= *least, "has fewer elements than " + least->dump());
    if (const Json* most = rule("maxItems")) require(value.size() <= *most, "has more elements than " + most->dump());
    if (const Json* items = rule("items"))
      for (std::size_t i = 0; i < value.size(); ++i)
        check(value[i], *items, pointer + "/" + std::to_string(i), findings);
  }
  if (value.is_object()) check_object(value, schema, pointer, findings);
  if (const Json* options = rule("anyOf"))
    require(std::any_of(options->begin(), options->end(), [&](const Json& option) { return fits(value, option); }),
            "fits none of " + options->dump());
  if (const Json* parts = rule("allOf"))
    for (const Json& part : *parts) check(value, part, pointer, findings);
  if (const Json* condition = rule("if")) {
    const Json* branch = rule(fits(value, *condition) ? "then" : "else");
    if (branch != nullptr) check(value, *branch, pointer, findings);
  }
}

void JsonSchema::check_object(const Json& value, const Json& schema, const std::string& pointer,
                              std::vector<std::string>& findings) const {
  if (schema.contains("required"))
    for (const auto& key : schema.at("required"))
      if (!value.contains(key)) findings.push_back(pointer + ": has no " + key.dump());
  const Json properties = schema.value("properties", Json::object());
  for (const auto& item : value.items()) {
    const std::string below = pointer + "/" + item.key();
    if (properties.contains(item.key())) check(item.value(), properties.at(item.key()), below, findings);
    else if (schema.contains("additionalProperties"))
      check(item.value(), schema.at("additionalProperties"), below, findings);
  }
}

}  // namespace foretoken::plan::test
