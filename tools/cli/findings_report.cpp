#include "tools/cli/findings_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/cli/numbers.hpp"

namespace foretoken::cli {
namespace {

constexpr std::size_t kFindingsMax = 6;

std::string finding_text(const explain::Finding& finding) {
  using explain::Culprit;
  const std::string times = finding.factor > 0 ? fmt::format(" ({:.3g} times B's)", finding.factor) : "";
  switch (finding.culprit) {
    case Culprit::clock: return fmt::format("one factor on everything{}: clocks that run at different rates", times);
    case Culprit::straggler: return fmt::format("{} computes slower than the others do{}", finding.of, times);
    case Culprit::hot_expert:
      return fmt::format("the experts of {} have more to do than the others'{}", finding.of, times);
    case Culprit::overlap: return "communication that computing hid in one and not in the other";
    case Culprit::gaps: return "gaps between ops: launches, bubbles";
    case Culprit::link: return fmt::format("communication longer or shorter in proportion{}: bandwidth", times);
    case Culprit::latency:
      return fmt::format("communication longer or shorter by {:.3g} us each, however long it is: latency",
                         finding.each.value() * 1e6);
    case Culprit::communication:
      if (!(finding.factor > 0)) return "communication that no compute hides";
      return fmt::format(
          "communication that no compute hides: {:.3g} times B's, or {:+.3g} us each; all of one length, so that "
          "bandwidth and latency look the same",
          finding.factor, finding.each.value() * 1e6);
    case Culprit::kernels: return fmt::format("kernels of {}{}", finding.of, times);
    case Culprit::waiting: return fmt::format("waiting for peers in {}", finding.of);
    case Culprit::other: return finding.of;
  }
  return "";
}

}  // namespace

nlohmann::ordered_json findings_json(const explain::Waterfall& waterfall,
                                     const std::vector<explain::Finding>& findings) {
  auto json = nlohmann::ordered_json::array();
  for (const explain::Finding& finding : findings) {
    json.push_back({{"cause", name_of(finding.culprit)},
                    {"of", finding.of},
                    {"explains_ps", finding.explains.value()},
                    {"explains_ms", milliseconds(waterfall.per_step(finding.explains))}});
    if (finding.factor > 0) json.back()["factor"] = finding.factor;
    if (finding.each != Seconds(0)) json.back()["each_us"] = finding.each.value() * 1e6;
  }
  return json;
}

std::string findings_text(const explain::Comparison& comparison) {
  const explain::Waterfall& waterfall = comparison.tpot;
  const std::vector<explain::Finding>& findings = comparison.findings;
  if (findings.empty()) return "";
  std::string text = "\n  Why, as far as the traces tell; the causes add up to A - B:\n";
  if (!comparison.only_difference.empty())
    text = fmt::format(
        "\n  Why: all of it follows from {}\n  Nothing else that the results record is different. In the traces it "
        "shows "
        "as, adding up to A - B:\n",
        comparison.only_difference);
  const int decimals = decimals_for(milliseconds(waterfall.per_step(std::max(waterfall.a, waterfall.b))));
  SimTime rest(0);
  std::size_t shown = 0;
  for (const explain::Finding& finding : findings) {
    if (shown == kFindingsMax) {
      rest += finding.explains;
      continue;
    }
    ++shown;
    text += fmt::format("    {:>+12.{}f} ms  {}\n", milliseconds(waterfall.per_step(finding.explains)), decimals,
                        finding_text(finding));
  }
  if (findings.size() > shown)
    text += fmt::format("    {:>+12.{}f} ms  {} smaller ones\n", milliseconds(waterfall.per_step(rest)), decimals,
                        findings.size() - shown);
  return text;
}

}  // namespace foretoken::cli
