// A comparison of two results, as JSON and as text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/explain/compare.hpp"
#include "tools/explain/gate.hpp"

namespace foretoken::cli {

/// The documented form, `foretoken schema comparison`.
nlohmann::ordered_json comparison_json(const explain::StoredResult& a, const explain::StoredResult& b,
                                       const explain::Comparison& comparison, explain::GroupBy by,
                                       const std::vector<explain::GateVerdict>& gates);

/// The same of one result beside what was published for its scenario.
nlohmann::ordered_json published_json(const explain::StoredHeadline& a, const std::vector<explain::Figure>& figures,
                                      const std::vector<explain::GateVerdict>& gates);

/// For people: what is compared, how far apart the figures are, and where the difference comes from.
std::string comparison_text(const explain::StoredResult& a, const explain::StoredResult& b,
                            const explain::Comparison& comparison);

/// One line: scenario; TPOT of A and of B in ms and the error of A in %; the same of CPU time per step, or dashes.
std::string comparison_brief(const explain::StoredResult& a, const explain::Comparison& comparison);

std::string published_text(const explain::StoredHeadline& a, const std::vector<explain::Figure>& figures);

}  // namespace foretoken::cli
