#include "tools/planning/audit_spec.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/schema_header.hpp"

namespace foretoken::planning {
namespace {

constexpr std::size_t kStatementsMax = 64;
constexpr std::size_t kSeriesMax = 64;
constexpr double kFigureMax = 1e6;

Statement read_statement(const JsonReader& place) {
  JsonObject object(place);
  Statement statement;
  statement.kind = object.require("kind").as_enum(kStatementKindNames);
  statement.says = object.require("says").as_string();
  statement.at_least = object.require("at_least").as_number(1e-6, kFigureMax);
  statement.why = object.require("why").as_string();
  object.finish();
  return statement;
}

// "measure.steps=4", from the members of an object.
std::vector<std::string> read_assignments(const JsonReader& place) {
  std::vector<std::string> assignments;
  JsonObject object(place);
  for (const auto& [path, value] : object.members()) assignments.push_back(path + "=" + value.json().dump());
  return assignments;
}

}  // namespace

AuditSpec read_audit(const JsonDocument& document) {
  JsonObject root(document.root());
  static_cast<void>(read_schema_header(root, "audit", 1));
  const auto path = [&](const JsonReader& place) {
    return (document.directory() / place.as_string()).lexically_normal();
  };
  AuditSpec spec;
  spec.name = root.require("name").as_string();
  if (const auto about = root.optional("about")) spec.about = about->as_string(true);
  spec.baseline = path(root.require("baseline"));
  spec.method = path(root.require("method"));
  if (const auto series = root.optional("series"))
    for (const JsonReader& member : series->as_array(2, kSeriesMax)) spec.series.push_back(path(member));
  spec.errors = path(root.require("errors"));
  if (const auto set = root.optional("set")) spec.set = read_assignments(*set);
  const JsonReader statements = root.require("statements");
  for (const JsonReader& statement : statements.as_array(0, kStatementsMax))
    spec.statements.push_back(read_statement(statement));
  root.finish();
  const bool scales = std::any_of(spec.statements.begin(), spec.statements.end(),
                                  [](const Statement& s) { return s.kind == StatementKind::scaling; });
  if (scales && spec.series.empty())
    statements.fail("a statement is about scaling, and there is no series", "add \"series\", scenarios by GPUs");
  return spec;
}

}  // namespace foretoken::planning
