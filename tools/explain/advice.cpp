#include "tools/explain/advice.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace foretoken::explain {
namespace {

// "l0.m1.qkv" -> "qkv"
std::string without_place(const std::string& name) { return name.substr(name.rfind('.') + 1); }

double width(double relative) {
  const Span span = span_of(1, relative);
  return span.high - span.low;
}

}  // namespace

std::vector<MeasurementGain> measurement_gains(const CriticalPath& path, const Trace& trace, const ModelErrors& errors,
                                               const std::function<std::string(std::size_t)>& shape_of) {
  std::map<std::tuple<std::string, std::string, Provenance>, MeasurementGain> groups;
  for (const PathSegment& segment : path.segments) {
    if (segment.work == PathWork::gap) continue;
    const TraceOp& op = trace.op_of(segment.event);
    const Provenance provenance = trace.provenance[segment.event];
    MeasurementGain& gain = groups[{op.kind, shape_of(segment.event), provenance}];
    gain.names.insert(without_place(op.name));
    gain.share += ratio(segment.time(), path.window());
    const SimTime takes = trace.ended[segment.event] - trace.begun[segment.event];
    if (takes <= gain.predicted) continue;
    gain.predicted = takes;
    gain.event = segment.event;
  }
  const std::vector<double> shares = error_shares(path, trace, errors);
  const double relative = relative_error(shares, errors);
  std::vector<MeasurementGain> gains;
  for (auto& [key, gain] : groups) {
    std::tie(gain.kind, gain.shape, gain.provenance) = key;
    gain.row = errors.row_of(gain.kind, gain.provenance);
    const double p90 = errors.rows()[gain.row].p90;
    const double rest = shares[gain.row] - gain.share;
    const double squared = relative * relative - p90 * p90 * (shares[gain.row] * shares[gain.row] - rest * rest);
    gain.relative_then = std::sqrt(std::max(0.0, squared));
    gains.push_back(std::move(gain));
  }
  std::stable_sort(gains.begin(), gains.end(), [](const MeasurementGain& a, const MeasurementGain& b) {
    return std::tie(a.relative_then, b.share) < std::tie(b.relative_then, a.share);
  });
  return gains;
}

std::optional<double> narrower(double relative, double relative_then) {
  if (relative >= 1) return std::nullopt;
  return relative > 0 ? 1 - width(relative_then) / width(relative) : 0.0;
}

}  // namespace foretoken::explain
