// An audit as JSON and as text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tools/planning/audit.hpp"

namespace foretoken::cli {

/// As tools/cli/audit-report.schema.json describes.
nlohmann::ordered_json audit_json(const planning::AuditSpec& spec, const planning::AuditResult& result,
                                  const explain::ModelErrors& errors);

/// For people: what agrees, the speed-up under each choice and each settlement, a verdict on each statement.
std::string audit_text(const planning::AuditSpec& spec, const planning::AuditResult& result,
                       const explain::ModelErrors& errors);

}  // namespace foretoken::cli
