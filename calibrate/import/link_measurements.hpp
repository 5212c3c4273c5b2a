// What nvbandwidth and perftest find out about links, and the calibration that comes of it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "core/link_class.hpp"
#include "core/units.hpp"

namespace foretoken::calibrate {

class ImportSettings;

/// One row: rate or latency. It is no op that foretoken predicts: there is no NCCL in it, and no kernel.
struct LinkMeasurement {
  LinkClass link = LinkClass::nvlink;
  std::string test;                    // "RDMA_Write BW Test"
  std::optional<BytesPerSecond> rate;  // payload, one direction
  std::optional<Seconds> latency;      // one way, of the message's size
  Bytes bytes;                         // of the message; zero if not told
  std::string tool;
  nlohmann::ordered_json origin;  // further members for whoever reads it: device, date, source
};

/// Rows of one test on one class of link. Of latencies, those of the smallest message.
struct LinkSummary {
  LinkClass link = LinkClass::nvlink;
  std::string test;
  std::string tool;
  std::int64_t rows = 0;
  bool is_latency = false;  // then in seconds, else in bytes per second
  double least = 0;
  double median = 0;
  double most = 0;
};

/// By class, then by test.
std::vector<LinkSummary> summarise(std::span<const LinkMeasurement> links);

/// The calibration with payload efficiencies as measured: rate / nominal, of the test whose median is highest, because
/// tests that stay below it are bound by something else. Links that were not measured stay as they were.
///
/// Latencies change nothing: those of a calibration are of NCCL's and DeepEP's messages.
///
/// @param settings  nvlink, pcie, infiniband: nominal rate of the links that were measured, if it is not that of the
///                  calibration
/// @throws Error{invalid_input} if no rate was measured, or one above the nominal
Calibration with_links(Calibration calibration, std::span<const LinkMeasurement> links, ImportSettings& settings);

}  // namespace foretoken::calibrate
