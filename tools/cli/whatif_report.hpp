// What a change of a scenario does, as JSON and as text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/metrics.hpp"
#include "core/trace.hpp"
#include "tools/explain/critical_path.hpp"
#include "tools/explain/model_errors.hpp"
#include "tools/explain/sensitivity.hpp"
#include "tools/planning/point.hpp"

namespace foretoken::cli {

/// One side, simulated.
struct WhatifSide {
  Trace trace;
  Metrics metrics;
  explain::CriticalPath path;
  std::vector<explain::PathShare> bounds;  // none on a host
  std::vector<explain::Sensitivity> sensitivities;
  planning::PointMemory memory;
};

struct Whatif {
  std::string scenario;
  std::vector<std::string> set;
  WhatifSide before;
  WhatifSide after;
  bool has_interval = false;  // whether it is known how far predictions are off
  double ratio_error = 0;     // of TPOT after / before, at 90 %: errors that both share cancel
  /// Each assignment by itself; empty if there is only one.
  std::vector<planning::Point> alone;

  [[nodiscard]] double ratio() const { return after.metrics.tpot.mean.value() / before.metrics.tpot.mean.value(); }
  [[nodiscard]] explain::Span span() const { return explain::span_of(ratio(), ratio_error); }
  /// "faster", "slower", "the same", or "ambiguous" if the interval holds both; without one what the figures say.
  [[nodiscard]] const char* verdict() const;
};

nlohmann::ordered_json whatif_json(const Whatif& whatif);
std::string whatif_text(const Whatif& whatif);

}  // namespace foretoken::cli
