// A checker for the keywords of JSON Schema draft-07 that our schemas use; any other keyword is an error, so that no
// rule of a schema goes unchecked. For tests only: foretoken itself never reads a schema.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace foretoken::plan::test {

class JsonSchema {
 public:
  explicit JsonSchema(nlohmann::json root) : root_(std::move(root)) {}

  /// What is wrong with `value`, one line per finding, each beginning with its pointer; empty if nothing is.
  [[nodiscard]] std::vector<std::string> check(const nlohmann::json& value) const;
  /// The schema that $ref leads to, or `schema` itself.
  [[nodiscard]] const nlohmann::json& resolved(const nlohmann::json& schema) const;
  [[nodiscard]] const nlohmann::json& root() const { return root_; }

 private:
  void check(const nlohmann::json& value, const nlohmann::json& schema, const std::string& pointer,
             std::vector<std::string>& findings) const;
  void check_object(const nlohmann::json& value, const nlohmann::json& schema, const std::string& pointer,
                    std::vector<std::string>& findings) const;
  [[nodiscard]] bool fits(const nlohmann::json& value, const nlohmann::json& schema) const;

  nlohmann::json root_;
};

}  // namespace foretoken::plan::test
