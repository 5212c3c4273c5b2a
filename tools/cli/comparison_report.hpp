// A comparison of two results, as JSON and as text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tools/explain/compare.hpp"
#include "tools/explain/gate.hpp"
#include "tools/explain/interval.hpp"
#include "tools/explain/model_errors.hpp"
#include "tools/explain/serving_result.hpp"

namespace foretoken::cli {

/// What the intervals of the figures rest on, or why there are none.
struct Intervals {
  std::optional<explain::Uncertainty> uncertainty;
  std::optional<explain::ModelErrors> errors;  // there if uncertainty is
  std::string file;                            // that they were read from
  std::string why_not;                         // "A was measured"; empty if there are intervals
};

/// The documented form, `foretoken schema comparison`.
nlohmann::ordered_json comparison_json(const explain::StoredResult& a, const explain::StoredResult& b,
                                       const explain::Comparison& comparison, explain::GroupBy by,
                                       const Intervals& intervals, const std::vector<explain::GateVerdict>& gates);

/// The same of one result beside what was published for its scenario.
nlohmann::ordered_json published_json(const explain::StoredHeadline& a, const std::vector<explain::Figure>& figures,
                                      const Intervals& intervals, const std::vector<explain::GateVerdict>& gates);

/// For people: what is compared, how far apart the figures are, and where the difference comes from.
std::string comparison_text(const explain::StoredResult& a, const explain::StoredResult& b,
                            const explain::Comparison& comparison, const Intervals& intervals);

/// One line: scenario; TPOT of A and of B in ms and the error of A in %; the same of CPU time per step, or dashes.
std::string comparison_brief(const explain::StoredResult& a, const explain::Comparison& comparison);

/// A result beside what a serving benchmark measured: end-to-end figures, and how their definitions differ.
nlohmann::ordered_json serving_json(const explain::StoredHeadline& a, const explain::ServingResult& b,
                                    const std::vector<explain::Figure>& figures, const Intervals& intervals,
                                    const std::vector<explain::GateVerdict>& gates);
std::string serving_text(const explain::StoredHeadline& a, const explain::ServingResult& b,
                         const std::vector<explain::Figure>& figures, const Intervals& intervals);

std::string published_text(const explain::StoredHeadline& a, const std::vector<explain::Figure>& figures,
                           const Intervals& intervals);

}  // namespace foretoken::cli
