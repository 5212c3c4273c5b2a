// What an audit is of: a claim that one deployment beats another, as a file states it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json_reader.hpp"

namespace foretoken::planning {

/// Which figure a statement is about:
///
///   tps_ratio   TPS of the method / TPS of the baseline
///   tpot_ratio  TPOT of the baseline / TPOT of the method
///   per_gpu     TPS per GPU of the method / TPS per GPU of the baseline; above 1: superlinear
///   scaling     of the series: (TPS of the last / TPS of the first) / (GPUs of the last / GPUs of the first)
///   hidden      of the method: communication hidden behind compute / all communication, on the slowest rank
enum class StatementKind : std::uint8_t { tps_ratio, tpot_ratio, per_gpu, scaling, hidden };

constexpr std::array<std::pair<StatementKind, std::string_view>, 5> kStatementKindNames{
    {{StatementKind::tps_ratio, "tps_ratio"},
     {StatementKind::tpot_ratio, "tpot_ratio"},
     {StatementKind::per_gpu, "per_gpu"},
     {StatementKind::scaling, "scaling"},
     {StatementKind::hidden, "hidden"}}};
constexpr std::string_view name_of(StatementKind kind) {
  return kStatementKindNames[static_cast<std::size_t>(kind)].second;
}

struct Statement {
  StatementKind kind = StatementKind::tps_ratio;
  std::string says;     // in the publication's words
  double at_least = 0;  // that the figure has to be for the statement to hold
  std::string why;      // this threshold
};

struct AuditSpec {
  std::string name;
  std::string about;
  std::filesystem::path baseline;  // scenarios, each with what was published for it and its open choices
  std::filesystem::path method;
  std::vector<std::filesystem::path> series;  // of the method, by GPUs; its choices are the method's
  std::filesystem::path errors;               // how far predictions of single ops are off
  std::vector<std::string> set;               // as --set takes them, for every scenario
  std::vector<Statement> statements;
};

/// Reads a file of kind "audit" (scenarios/audit.schema.json); paths are resolved against its folder.
/// @throws Error{invalid_input} naming file, place, what was found and what would be right
AuditSpec read_audit(const JsonDocument& document);

}  // namespace foretoken::planning
