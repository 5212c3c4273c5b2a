// How far a fit is off on measurements that it did not see.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "core/json_reader.hpp"

namespace foretoken {

/// Error on rows that the fit did not see. Whole groups were held out: an (n, k) pair, a head shape,
/// a probe.
struct HeldOut {
  double median = 0;       ///< of |predicted/measured - 1|
  double p90 = 0;          ///< of |predicted/measured - 1|
  double signed_mean = 0;  ///< of predicted/measured - 1
  std::int64_t rows = 0;
  std::int64_t groups = 0;
  std::int64_t folds = 0;
  std::int64_t seed = 0;

  /// p90, if there were rows to find it on.
  [[nodiscard]] std::optional<double> known_p90() const { return rows > 0 ? std::optional(p90) : std::nullopt; }
};

/// Every member is required. @throws Error{invalid_input}
HeldOut read_held_out(const JsonReader& place);
nlohmann::json to_json(const HeldOut& held_out);

}  // namespace foretoken
