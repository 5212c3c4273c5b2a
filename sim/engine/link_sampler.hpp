// When to look at what links have carried, so that a run of any length ends up with a bounded number of samples.
#pragma once

#include <cstddef>
#include <vector>

#include "core/trace.hpp"
#include "core/units.hpp"

namespace foretoken::sim {

/// Takes every sample at first. When there are too many it drops every second one and doubles the least time between
/// two, so that between half and all of `samples_max` remain, about evenly spread. Samples that must stay, stay.
class LinkSampler {
 public:
  /// @param links  of the trace to be; @param samples_max  at least 4
  LinkSampler(std::vector<TraceLinks::Link> links, std::size_t samples_max);

  [[nodiscard]] bool is_due(SimTime now) const {
    return trace_.sampled.empty() || now >= trace_.sampled.back() + apart_;
  }
  /// Replaces an earlier sample of the same instant.
  /// @param bytes  [link] since the start of the run
  void add(SimTime now, const std::vector<double>& bytes, bool must_stay);

  [[nodiscard]] TraceLinks take() { return std::move(trace_); }

 private:
  void thin_out();

  TraceLinks trace_;
  std::vector<char> must_stay_;
  std::size_t samples_max_;
  SimTime apart_{1};
};

}  // namespace foretoken::sim
