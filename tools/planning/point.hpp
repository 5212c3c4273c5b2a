// What planning keeps of a simulated variant of a scenario: its figures, or why it cannot be.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace foretoken::planning {

/// Memory of the fullest rank, in bytes.
struct PointMemory {
  double weights = 0;
  double kv_cache = 0;
  double activations = 0;
  double device = 0;  // that a GPU has
  [[nodiscard]] double total() const { return weights + kv_cache + activations; }
};

struct PointFigures {
  std::int64_t gpus = 0;
  double sequences = 0;
  double tps = 0;  // tokens per second, all sequences
  double tpot_ms_mean = 0;
  double tpot_ms_p50 = 0;
  double tpot_ms_p95 = 0;
  double tpot_ms_p99 = 0;
  double relative_error = 0;  // of TPOT at 90 %, explain/model_errors.hpp; 0 where nobody knows it
  double exposed_ms = 0;      // communication on the slowest rank per step, while nothing computes
  double hidden_ms = 0;       // while something does
  PointMemory memory;
  /// What the critical path was bound by (explain/bounds.hpp), shares of it, largest first. None on hosts.
  std::vector<std::pair<std::string, double>> bounds;

  [[nodiscard]] double tps_per_gpu() const { return tps / static_cast<double>(gpus); }
  /// Tokens per second that one user sees: 1 / mean TPOT.
  [[nodiscard]] double tps_per_user() const { return 1e3 / tpot_ms_mean; }
};

struct Point {
  PointFigures figures;
  std::string status = "ok";  // or "invalid" or "infeasible"
  std::string reason;         // one line; empty if it ran
  [[nodiscard]] bool ran() const { return status == "ok"; }
};

/// Numbers are written so that they are read back to the bit.
nlohmann::ordered_json point_json(const Point& point);
/// @throws nlohmann::json::exception if it is not what point_json() wrote
Point point_of(const nlohmann::json& json);

}  // namespace foretoken::planning
