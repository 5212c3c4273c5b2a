// Two results, of one plan or of two: how far apart, and why.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/explain/diagnosis.hpp"
#include "tools/explain/model_errors.hpp"
#include "tools/explain/stored_result.hpp"
#include "tools/explain/waterfall.hpp"

namespace foretoken::explain {

enum class FigureVerdict : std::uint8_t {
  inside,    // B is in A's interval, with all that B's own steps leave open
  outside,   // the two intervals do not touch
  ambiguous  // they overlap
};
constexpr std::array<std::pair<FigureVerdict, std::string_view>, 3> kFigureVerdictNames{
    {{FigureVerdict::inside, "inside"}, {FigureVerdict::outside, "outside"}, {FigureVerdict::ambiguous, "ambiguous"}}};
constexpr std::string_view name_of(FigureVerdict verdict) {
  return kFigureVerdictNames[static_cast<std::size_t>(verdict)].second;
}

/// Intervals of a figure at 90 %, by tools/explain/interval.hpp.
struct Judgement {
  Span a;
  Span b;
  FigureVerdict verdict = FigureVerdict::ambiguous;
};

/// One figure of both sides.
struct Figure {
  std::string_view name;  // as in JSON: "tps", "tpot_mean_ms", …
  double a = 0;           // in the unit of the name
  double b = 0;
  std::optional<Judgement> judged{};

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
  /// If both are predictions, and this is all that the results record as different: the one line of `configuration`, so
  /// that the whole difference in TPOT follows from it; else empty.
  std::string only_difference;
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
