// Numbers that may be without bound, as JSON has them.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/explain/interval.hpp"

namespace foretoken::cli {

/// Null where the number is not finite.
inline nlohmann::ordered_json number_json(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

/// [low, high]; null for a high end that is not known.
inline nlohmann::ordered_json span_json(const explain::Span& span) {
  return nlohmann::ordered_json::array({span.low, number_json(span.high)});
}

}  // namespace foretoken::cli
