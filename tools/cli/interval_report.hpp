// How far a simulated result may be off, as JSON and as text.
#pragma once

#include <array>
#include <filesystem>
#include <iosfwd>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "core/calibration.hpp"
#include "core/metrics.hpp"
#include "core/trace.hpp"
#include "plan/machine/machine.hpp"
#include "plan/plan.hpp"
#include "sim/simulate.hpp"
#include "tools/cli/interval_options.hpp"
#include "tools/explain/interval.hpp"
#include "tools/explain/model_errors.hpp"
#include "tools/explain/monte_carlo.hpp"

namespace foretoken::cli {

struct IntervalReport {
  std::array<double, kProvenanceNames.size()> provenance{};  // shares of the critical path; the rest is gaps
  std::string why_not;                                       // empty if there is an interval
  std::string file;                                          // of the errors
  std::shared_ptr<const explain::ModelErrors> errors;        // there if there is an interval
  explain::Uncertainty first_order;
  std::optional<explain::DrawnInterval> drawn;
  bool simulated = false;  // each draw; else timed anew
};

/// First order alone.
/// @param errors  of the calibration; empty: as shipped with it
/// @throws Error as ModelErrors::read
IntervalReport report_interval(const Trace& trace, const Calibration& calibration, const std::filesystem::path& errors);

/// What was simulated, for an interval by draws.
struct DrawnSubject {
  const plan::Plan& plan;
  const plan::Machine& machine;
  const Calibration& calibration;
  const sim::SimulateOptions& options;
  const Trace& trace;
};

/// Adds the interval by draws; says on `err` how far it is where each draw is simulated.
/// @throws Error{invalid_input} if the report has no errors to draw from
void draw(IntervalReport& report, const DrawnMethod& method, const DrawnSubject& subject, std::ostream& err);

/// `interval` of `foretoken schema result`.
nlohmann::ordered_json interval_json(const IntervalReport& report, const Metrics& metrics);
std::string interval_text(const IntervalReport& report, const Metrics& metrics);

}  // namespace foretoken::cli
