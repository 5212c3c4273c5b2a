// Why a run took as long as it did, as JSON and as text: critical path, stragglers, links, sensitivity.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/trace.hpp"
#include "tools/cli/load.hpp"
#include "tools/explain/critical_path.hpp"
#include "tools/explain/link_use.hpp"
#include "tools/explain/sensitivity.hpp"
#include "tools/explain/stragglers.hpp"

namespace foretoken::cli {

/// By how much a resource is made better to see what comes of it: 10 %.
inline constexpr double kBetter = 1.1;

struct Explanation {
  std::optional<explain::CriticalPath> path;
  std::vector<explain::PathShare> bounds;  // of the path; none on a host
  std::vector<explain::StragglerWait> stragglers;
  std::optional<explain::LinksUse> links;
  std::vector<explain::Sensitivity> sensitivities;
  Seconds tpot;  // mean, that the sensitivities are of

  [[nodiscard]] bool empty() const { return !path && sensitivities.empty(); }
};

/// How often to look at the links of a simulation: of small machines often, of large ones as memory allows.
std::size_t link_samples(const Loaded& loaded);

/// Critical path, what bound it, stragglers, and links if the trace has them.
Explanation explain_trace(const Trace& trace, const Loaded& loaded);

/// The member `explanation` of a result.
nlohmann::ordered_json explanation_json(const Explanation& explanation, const Trace& trace);
std::string explanation_text(const Explanation& explanation, const Trace& trace);

/// One critical path, as in `explanation` of a result.
nlohmann::ordered_json critical_path_json(const explain::CriticalPath& path, const Trace& trace);

/// Two critical paths side by side, per step.
std::string critical_paths_text(const explain::CriticalPath& a, const Trace& trace_a, const explain::CriticalPath& b,
                                const Trace& trace_b);

}  // namespace foretoken::cli
