// A recommendation as JSON and as text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "tools/planning/prices.hpp"
#include "tools/planning/recommend.hpp"

namespace foretoken::cli {

struct RecommendReport {
  std::string model;
  std::string cluster;
  std::int64_t gpus = 0;
  std::int64_t context = 0;
  const planning::Objective& objective;
  const planning::Recommendation& result;
  std::optional<planning::Price> price;
  std::optional<double> watts;
};

/// tools/cli/recommendation.schema.json says what it holds.
nlohmann::ordered_json recommend_json(const RecommendReport& report);
std::string recommend_text(const RecommendReport& report);

}  // namespace foretoken::cli
