#include "tools/cli/conditions.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/quantity_text.hpp"

namespace foretoken::cli {
namespace {

std::string fault_text(const plan::FaultSpec& fault) {
  const bool is_gpu = fault.part == plan::FaultPart::gpu;
  const std::string left =
      fault.share == 0 ? "dead" : fmt::format("at {:g} % of its {}", 100 * fault.share, is_gpu ? "speed" : "bandwidth");
  const std::string from = fault.from.value() > 0 ? " from " + to_text(fault.from) : "";
  return fmt::format("{} {}{}", fmt::join(fault.names, " - "), left, from);
}

std::string execution_text(const plan::ExecutionSpec& execution) {
  std::string text = execution.mode == plan::LaunchMode::eager ? "eager launches" : "one graph launch per step";
  if (execution.launch) text += " of " + to_text(*execution.launch);
  if (execution.gap) text += ", gaps of " + to_text(*execution.gap);
  if (execution.host_waits) text += ", the host waits for each step";
  return text;
}

}  // namespace

std::vector<std::string> conditions_of(const plan::Scenario& scenario) {
  std::vector<std::string> conditions;
  for (const plan::FaultSpec& fault : scenario.faults) conditions.push_back(fault_text(fault));
  if (scenario.execution) conditions.push_back(execution_text(*scenario.execution));
  return conditions;
}

}  // namespace foretoken::cli
