// The residual tables of a measured calibration's README.md.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "calibrate/fit/host_fit.hpp"

namespace foretoken::calibrate {
namespace {

std::string_view name_of_load(HostLoad load) { return load == HostLoad::alone ? "alone" : "crowded"; }

}  // namespace

std::string host_residual_markdown(const HostFit& fit) {
  std::string out =
      "## Errors\n\n"
      "Predicted / measured - 1 of CPU time; a probe is predicted by a fit that did not see it (held out). `steps`: "
      "all "
      "compute\n"
      "ops of a probe together. The other rows are single ops, the shortest of which take little more than the "
      "clock.\n\n"
      "| what | load | held out | median of abs. | p90 of abs. | signed mean | samples | probes | share of time |\n"
      "|---|---|---|---|---|---|---|---|---|\n";
  for (const HostResidual& r : fit.residuals) {
    double share = 1;
    for (const HostResidual& whole : fit.residuals)
      if (whole.what == "steps" && whole.load == r.load && !r.what.starts_with("communication"))
        share = ratio(r.time, whole.time);
    out += fmt::format("| {} | {} | {} | {:.1f} % | {:.1f} % | {:+.1f} % | {} | {} | {:.0f} % |\n", r.what,
                       name_of_load(r.load), r.held_out ? "yes" : "no", 100 * r.error.median, 100 * r.error.p90,
                       100 * r.error.signed_mean, r.error.rows, r.error.groups, 100 * share);
  }
  out +=
      "\n## Probes\n\n"
      "Sums over the ops and routed steps of a probe, in microseconds of CPU time.\n\n"
      "| probe | messages by | load | measured | predicted | error |\n"
      "|---|---|---|---|---|---|\n";
  for (const ProbeResidual& p : fit.probes)
    out += fmt::format("| {} | {} | {} | {:.1f} | {:.1f} | {:+.1f} % |\n", p.probe,
                       p.communicator.empty() ? "-" : p.communicator, name_of_load(p.load), p.measured.value() * 1e6,
                       p.predicted.value() * 1e6, 100 * (ratio(p.predicted, p.measured) - 1));
  if (!fit.unfelt.empty())
    out += fmt::format("\nNo probe has these terms; their costs are guesses: {}.\n", fmt::join(fit.unfelt, ", "));
  for (const std::string& note : fit.notes) out += "\n" + note + ".\n";
  return out;
}

}  // namespace foretoken::calibrate
