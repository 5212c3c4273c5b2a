#include "calibrate/import/link_measurements.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <utility>

#include "calibrate/import/imported.hpp"
#include "core/error.hpp"
#include "core/quantity_text.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

double median_of(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

struct Rows {
  std::vector<double> values;
  Bytes smallest;
  std::string tool;
};

LinkCalibration& link_of(NetworkCalibration& network, LinkClass link) {
  if (link == LinkClass::nvlink) return network.nvlink;
  return link == LinkClass::pcie ? network.pcie : network.infiniband;
}

BytesPerSecond nominal_of(LinkClass link, BytesPerSecond usual, ImportSettings& settings) {
  const std::string key(name_of(link));
  const std::optional<std::string> text = settings.text(key);
  if (!text) return usual;
  const auto rate = parse_bandwidth(*text);
  if (!rate || *rate < plan::kBandwidthMin || *rate > plan::kBandwidthMax)
    throw input_error(fmt::format("--set {}={}", key, *text), "", "is no bandwidth", "write for example '400 Gb/s'");
  return *rate;
}

}  // namespace

std::vector<LinkSummary> summarise(std::span<const LinkMeasurement> links) {
  std::map<std::tuple<LinkClass, bool, std::string>, Rows> tests;
  for (const LinkMeasurement& one : links) {
    const bool is_latency = !one.rate.has_value();
    const auto [found, first] = tests.try_emplace({one.link, is_latency, one.test});
    Rows& rows = found->second;
    if (is_latency && !first && one.bytes > rows.smallest) continue;
    if (is_latency && one.bytes < rows.smallest) rows.values.clear();
    rows.smallest = one.bytes;
    rows.tool = one.tool;
    rows.values.push_back(is_latency ? one.latency.value_or(Seconds()).value() : one.rate->value());
  }
  std::vector<LinkSummary> summaries;
  for (auto& [test, rows] : tests) {
    const double median = median_of(rows.values);
    summaries.push_back({std::get<0>(test), std::get<2>(test), rows.tool, static_cast<std::int64_t>(rows.values.size()),
                         std::get<1>(test), rows.values.front(), median, rows.values.back()});
  }
  return summaries;
}

Calibration with_links(Calibration calibration, std::span<const LinkMeasurement> links, ImportSettings& settings) {
  std::array<std::optional<LinkSummary>, kLinkClassNames.size()> best;
  for (LinkSummary& one : summarise(links)) {
    std::optional<LinkSummary>& held = best[static_cast<std::size_t>(one.link)];
    if (!one.is_latency && (!held || one.median > held->median)) held = std::move(one);
  }
  bool any = false;
  for (const std::optional<LinkSummary>& one : best) {
    if (!one) continue;
    any = true;
    LinkCalibration& link = link_of(calibration.network, one->link);
    const BytesPerSecond nominal = nominal_of(one->link, link.nominal, settings);
    const double efficiency = one->median / nominal.value();
    if (efficiency > 1)
      throw input_error(one->tool, "",
                        fmt::format("{} reached {} of {}'s nominal {}", one->test, to_text(BytesPerSecond(one->median)),
                                    name_of(one->link), to_text(nominal)),
                        fmt::format("say what the link's is: --set {}='800 Gb/s'", name_of(one->link)));
    link = {nominal, efficiency, Provenance::measured, fmt::format("imported-{}", name_of(one->link))};
    std::erase_if(calibration.sources, [&](const CalibrationSource& source) { return source.id == link.source; });
    calibration.sources.push_back({link.source, fmt::format("a log of {}", one->tool), "the user's own", one->rows,
                                   fmt::format("{}: median of {} rows", one->test, one->rows)});
  }
  if (!any)
    throw input_error("--links", "", "no log has a link's bandwidth",
                      "give one of nvbandwidth, ib_write_bw or the like");
  return calibration;
}

}  // namespace foretoken::calibrate
