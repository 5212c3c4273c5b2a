// The two invented scenarios of tests/data/plan, and changed copies of them as text.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "plan/plan.hpp"

namespace foretoken::plan::test {

/// A file of the repository, as an absolute path.
std::string repository_file(const std::string& path);

/// The bytes of a file of the repository.
std::string text_of_file(const std::string& path);

/// A base scenario of tests/data/plan ("stages", "dispatch"), its topology named by an absolute path.
nlohmann::json base_scenario(const std::string& base);

/// One change: the value at a JSON pointer becomes `json`; an empty `json` removes it.
struct Edit {
  std::string pointer;
  std::string json;
};
nlohmann::json edited(nlohmann::json scenario, const std::vector<Edit>& edits);

/// The whole way of a scenario: JSON -> Scenario -> Topology -> Machine -> Plan.
Plan plan_of(const JsonDocument& document);
Plan plan_of_text(const std::string& text, const std::string& name = "case.json");
Plan plan_of_base(const std::string& base, const std::vector<Edit>& edits = {});

}  // namespace foretoken::plan::test
