#include "tools/cli/explanation_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/explain/bounds.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using explain::CriticalPath;
using explain::LinkClassUse;
using explain::LinksUse;
using explain::LinkUse;
using explain::PathBy;
using explain::PathShare;
using explain::Sensitivity;
using explain::StragglerWait;

constexpr std::size_t kLinkSamples = 512;            // about, of a small machine
constexpr std::size_t kLinkNumbersMax = 16'000'000;  // samples x links: 128 MB
constexpr std::size_t kLinksInJsonMax = 64;
constexpr std::size_t kNamesInTextMax = 6;  // of layers and ranks

// ---- JSON ----------------------------------------------------------------------------------------------------------

Json shares_json(const CriticalPath& path, const std::vector<PathShare>& shares) {
  Json list = Json::array();
  for (const PathShare& share : shares)
    list.push_back({{"of", share.name},
                    {"ps", share.time.value()},
                    {"ms", milliseconds(path.per_step(share.time))},
                    {"segments", share.segments}});
  return list;
}

Json stragglers_json(const std::vector<StragglerWait>& stragglers) {
  Json list = Json::array();
  for (const StragglerWait& wait : stragglers)
    list.push_back({{"kind", wait.kind},
                    {"meetings", wait.meetings},
                    {"waited_ps", wait.waited.value()},
                    {"mean_us", microseconds(wait.mean())},
                    {"longest_us", microseconds(to_seconds(wait.longest))},
                    {"late_rank", wait.late_rank},
                    {"made_wait_ps", wait.made_wait.value()}});
  return list;
}

Json link_json(const LinkUse& link) {
  return {{"name", link.name},   {"class", link.link_class},        {"capacity_bytes_per_s", link.capacity.value()},
          {"bytes", link.bytes}, {"utilisation", link.utilisation}, {"peak", link.peak}};
}

Json links_json(const LinksUse& use) {
  Json classes = Json::array();
  for (const LinkClassUse& all : use.classes)
    classes.push_back({{"class", all.link_class},
                       {"links", all.links},
                       {"bytes", all.bytes},
                       {"utilisation", all.utilisation},
                       {"busiest", link_json(all.busiest)}});
  Json busiest = Json::array();
  for (std::size_t l = 0; l < std::min(use.links.size(), kLinksInJsonMax); ++l)
    busiest.push_back(link_json(use.links[l]));
  return {{"time_ms", milliseconds(to_seconds(use.end - use.begin))},
          {"interval_us", microseconds(to_seconds(use.interval))},
          {"classes", std::move(classes)},
          {"busiest", std::move(busiest)}};
}

double rest_of(const std::vector<Sensitivity>& sensitivities) {
  double rest = 1;
  for (const Sensitivity& one : sensitivities) rest -= one.elasticity;
  return rest;
}

Json sensitivity_json(const Explanation& explanation) {
  Json resources = Json::array();
  for (const Sensitivity& one : explanation.sensitivities)
    resources.push_back(
        {{"resource", name_of(one.resource)}, {"tpot_ms", milliseconds(one.tpot)}, {"elasticity", one.elasticity}});
  return {{"factor", kBetter},
          {"tpot_ms", milliseconds(explanation.tpot)},
          {"resources", std::move(resources)},
          {"rest", rest_of(explanation.sensitivities)}};
}

// ---- text ----------------------------------------------------------------------------------------------------------

std::string share_line(const CriticalPath& path, const PathShare& share) {
  return fmt::format("    {:<32} {:>9.3f} ms  {:>5.1f} %  {:>6} segments\n", share.name,
                     milliseconds(path.per_step(share.time)), 100 * ratio(share.time, path.window()), share.segments);
}

// "layer 3 12.0 %, layer 4 11.9 %, and 22 more"
std::string names_text(const CriticalPath& path, const std::vector<PathShare>& shares) {
  std::string text;
  for (std::size_t s = 0; s < std::min(shares.size(), kNamesInTextMax); ++s)
    text +=
        fmt::format("{}{} {:.1f} %", s == 0 ? "" : ", ", shares[s].name, 100 * ratio(shares[s].time, path.window()));
  if (shares.size() > kNamesInTextMax) text += fmt::format(", and {} more", shares.size() - kNamesInTextMax);
  return text;
}

std::string path_text(const CriticalPath& path, const std::vector<PathShare>& bounds, const Trace& trace) {
  std::string text = fmt::format(
      "\n  Critical path: what the last token of rank {} waited for, {:.3f} ms per step, {} segments, {} changes of "
      "rank\n",
      path.rank, milliseconds(path.per_step(path.window())), path.segments.size(), path.rank_changes);
  for (const PathShare& share : shares_of(path, trace, PathBy::kind)) text += share_line(path, share);
  if (!bounds.empty()) text += fmt::format("    Bound by: {}\n", names_text(path, bounds));
  text += fmt::format("    By layer: {}\n", names_text(path, shares_of(path, trace, PathBy::layer)));
  text += fmt::format("    By rank: {}\n", names_text(path, shares_of(path, trace, PathBy::rank)));
  return text +
         fmt::format("    Its ops had waited for: {}\n", names_text(path, shares_of(path, trace, PathBy::cause)));
}

std::string stragglers_text(const std::vector<StragglerWait>& stragglers) {
  if (stragglers.empty()) return "";
  std::string text = fmt::format("\n  Waiting for the last to arrive, all ranks\n    {:<16}{:>10}{:>12}{:>12}   {}\n",
                                 "", "meetings", "mean, us", "longest, us", "made others wait longest");
  for (const StragglerWait& wait : stragglers) {
    text += fmt::format("    {:<16}{:>10}{:>12.3f}{:>12.3f}", wait.kind, wait.meetings, microseconds(wait.mean()),
                        microseconds(to_seconds(wait.longest)));
    if (wait.late_rank >= 0)
      text +=
          fmt::format("   rank {}, {:.0f} % of the waiting", wait.late_rank, 100 * ratio(wait.made_wait, wait.waited));
    text += "\n";
  }
  return text;
}

std::string links_text(const LinksUse& use) {
  std::string text = fmt::format(
      "\n  Links over the counted steps, of what they carry of payload while nothing ails them; peaks over intervals "
      "of {:.3g} us\n"
      "    {:<10}{:>7}{:>12}{:>9}{:>10}{:>8}   {}\n",
      microseconds(to_seconds(use.interval)), "", "links", "GB", "mean", "busiest", "peak", "busiest link");
  for (const LinkClassUse& all : use.classes)
    text += fmt::format("    {:<10}{:>7}{:>12.3f}{:>7.1f} %{:>8.1f} %{:>6.1f} %   {}\n", all.link_class, all.links,
                        all.bytes / 1e9, 100 * all.utilisation, 100 * all.busiest.utilisation, 100 * all.busiest.peak,
                        all.busiest.name);
  return text;
}

const char* meaning_of(explain::Resource resource) {
  using explain::Resource;
  switch (resource) {
    case Resource::memory: return "HBM bandwidth";
    case Resource::l2: return "L2 bandwidth";
    case Resource::flops: return "peak FLOP/s";
    case Resource::launch: return "launches and shortest kernels";
    case Resource::nvlink: return "NVLink bandwidth";
    case Resource::nic: return "bandwidth of NICs";
    case Resource::fabric: return "bandwidth between switches";
    case Resource::latency: return "latencies of communication";
    case Resource::kernels: return "communication kernels beside the links";
    case Resource::cores: return "speed of the cores";
    case Resource::messages: return "messages between ranks";
  }
  return "";
}

std::string sensitivity_text(const Explanation& explanation) {
  std::vector<Sensitivity> sorted = explanation.sensitivities;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Sensitivity& a, const Sensitivity& b) { return a.elasticity > b.elasticity; });
  std::string text =
      fmt::format("\n  What to buy next: each resource {:.0f} % better, one at a time\n    {:<10}{:>12}{:>10}{:>12}\n",
                  100 * (kBetter - 1), "", "TPOT, ms", "change", "elasticity");
  for (const Sensitivity& one : sorted)
    text += fmt::format("    {:<10}{:>12.3f}{:>+8.2f} %{:>12.3f}   {}\n", name_of(one.resource), milliseconds(one.tpot),
                        100 * (ratio(one.tpot, explanation.tpot) - 1), one.elasticity, meaning_of(one.resource));
  return text + fmt::format("    {:<10}{:>34.3f}   what none of them changes, or several do\n", "rest",
                            rest_of(explanation.sensitivities));
}

}  // namespace

std::size_t link_samples(const Loaded& loaded) {
  const std::size_t links = std::max<std::size_t>(loaded.machine.links().size(), 1);
  return std::clamp<std::size_t>(kLinkNumbersMax / links, 8, kLinkSamples);
}

Explanation explain_trace(const Trace& trace, const Loaded& loaded) {
  Explanation explanation;
  explanation.path = explain::find_critical_path(trace);
  if (!loaded.machine.is_host())
    explanation.bounds = explain::bounds_of(*explanation.path, trace, loaded.plan, loaded.machine);
  explanation.stragglers = explain::straggler_waits(trace);
  if (trace.links) explanation.links = explain::use_of_links(trace);
  return explanation;
}

Json critical_path_json(const CriticalPath& path, const Trace& trace) {
  return {{"rank", path.rank},
          {"steps", path.steps},
          {"begin_ps", path.begin.value()},
          {"end_ps", path.end.value()},
          {"segments", path.segments.size()},
          {"rank_changes", path.rank_changes},
          {"by_kind", shares_json(path, shares_of(path, trace, PathBy::kind))},
          {"by_layer", shares_json(path, shares_of(path, trace, PathBy::layer))},
          {"by_rank", shares_json(path, shares_of(path, trace, PathBy::rank))},
          {"by_cause", shares_json(path, shares_of(path, trace, PathBy::cause))}};
}

Json explanation_json(const Explanation& explanation, const Trace& trace) {
  Json json = Json::object();
  if (explanation.path) {
    json["critical_path"] = critical_path_json(*explanation.path, trace);
    if (!explanation.bounds.empty()) json["bounds"] = shares_json(*explanation.path, explanation.bounds);
    json["stragglers"] = stragglers_json(explanation.stragglers);
  }
  if (explanation.links) json["links"] = links_json(*explanation.links);
  if (!explanation.sensitivities.empty()) json["sensitivity"] = sensitivity_json(explanation);
  return json;
}

std::string explanation_text(const Explanation& explanation, const Trace& trace) {
  std::string text;
  if (explanation.path)
    text += path_text(*explanation.path, explanation.bounds, trace) + stragglers_text(explanation.stragglers);
  if (explanation.links) text += links_text(*explanation.links);
  if (!explanation.sensitivities.empty()) text += sensitivity_text(explanation);
  return text;
}

std::string critical_paths_text(const CriticalPath& a, const Trace& trace_a, const CriticalPath& b,
                                const Trace& trace_b) {
  std::map<std::string, std::pair<double, double>> rows;  // ms per step, by kind; gaps before any op in one
  const auto row = [](const PathShare& share) { return share.name.starts_with("gap ") ? "gaps" : share.name; };
  for (const PathShare& share : shares_of(a, trace_a, PathBy::kind))
    rows[row(share)].first += milliseconds(a.per_step(share.time));
  for (const PathShare& share : shares_of(b, trace_b, PathBy::kind))
    rows[row(share)].second += milliseconds(b.per_step(share.time));
  std::vector<std::pair<std::string, std::pair<double, double>>> sorted(rows.begin(), rows.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& one, const auto& other) {
    return std::max(one.second.first, one.second.second) > std::max(other.second.first, other.second.second);
  });

  std::string text = fmt::format("\n  Critical path across ranks, per step:\n    {:<36}{:>12}{:>12}{:>12}\n", "",
                                 "A, ms", "B, ms", "A - B, ms");
  const auto line = [&](const std::string& name, double of_a, double of_b) {
    text += fmt::format("    {:<36}{:>12.4f}{:>12.4f}{:>+12.4f}\n", name, of_a, of_b, of_a - of_b);
  };
  for (const auto& [name, of] : sorted) line(name, of.first, of.second);
  line("sum = steps of the slowest rank", milliseconds(a.per_step(a.window())), milliseconds(b.per_step(b.window())));
  const auto per_step = [](const CriticalPath& path) {
    return static_cast<double>(path.rank_changes) / static_cast<double>(path.steps);
  };
  return text + fmt::format("    {:<36}{:>12.1f}{:>12.1f}\n", "changes of rank per step", per_step(a), per_step(b));
}

}  // namespace foretoken::cli
