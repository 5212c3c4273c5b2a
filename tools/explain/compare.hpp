// Two results, of one plan or of two: how far apart, and why.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/explain/diagnosis.hpp"
#include "tools/explain/stored_result.hpp"
#include "tools/explain/waterfall.hpp"

namespace foretoken::explain {

/// One figure of both sides.
struct Figure {
  std::string_view name;  // as in JSON: "tps", "tpot_mean_ms", …
  double a = 0;           // in the unit of the name
  double b = 0;

  /// a / b - 1: by how much A is too high, if B is right.
  [[nodiscard]] double error() const { return a / b - 1; }
};

/// The figure of that name, or nothing if it is not among them.
const Figure* find_figure(const std::vector<Figure>& figures, std::string_view name);

struct CompareOptions {
  GroupBy by = GroupBy::kind;
  bool cpu = false;     // also explain CPU time
  bool across = false;  // the plans may differ
};

struct Comparison {
  std::vector<Figure> figures;
  Waterfall tpot;
  std::vector<Finding> findings;           // what made them differ
  std::vector<std::string> configuration;  // "pointer: a in A, b in B": what the plans were made of; the first few
  std::optional<Waterfall> cpu;
};

/// @param a usually the prediction
/// @param b usually the measurement
/// @throws Error{invalid_input} if the plans differ and are not to be compared across: names both hashes, both
/// scenarios and where the scenarios differ;
///         if CPU time is wanted and a side has none, or not that of all ranks
Comparison compare(const StoredResult& a, const StoredResult& b, const CompareOptions& options);

/// TPS and mean TPOT of a result as A, what was published for its scenario as B.
/// @throws Error{invalid_input} if nothing was
std::vector<Figure> compare_with_published(const StoredHeadline& result);

}  // namespace foretoken::explain
