// How far predictions of single ops are off, and what that makes of TPOT: a first-order interval.
//
// The table is data: for each kind of op, by what its duration rests on, the 90th percentile of |predicted / measured -
// 1| on measurements that the calibration did not see, with its source, or an assumption that says so.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json_reader.hpp"
#include "core/trace.hpp"
#include "tools/explain/critical_path.hpp"

namespace foretoken::explain {

struct ModelError {
  std::vector<std::string> ops;        // kinds of ops; "*": any
  std::vector<Provenance> provenance;  // of their durations; empty: any
  double p90 = 0;                      // of |predicted / measured - 1|, in (0, 1)
  bool assumed = false;                // nobody has measured it
  std::string source;
};

class ModelErrors {
 public:
  /// Reads a file of kind "model_errors"; topologies/calibrations/model-errors.schema.json says what it holds.
  /// @throws Error{invalid_input} naming file and place; also if the last row does not hold for every op
  static ModelErrors read(const JsonDocument& document);

  [[nodiscard]] const std::vector<ModelError>& rows() const { return rows_; }
  /// The first row that holds for this kind of op at this provenance.
  [[nodiscard]] std::size_t row_of(std::string_view kind, Provenance provenance) const;

 private:
  std::vector<ModelError> rows_;
};

/// [row] share of the path that is an op of this row; gaps are in none.
std::vector<double> error_shares(const CriticalPath& path, const Trace& trace, const ModelErrors& errors);

/// By how much TPOT may be off, relative. All ops of one row are off together, as one kernel is; rows independently:
///
///   h = sqrt( sum over rows of (share x p90)^2 )
///
/// First order: which ops are on the critical path is taken not to change.
/// Example: half of the path at 10 %, half at 20 %: sqrt(0.05^2 + 0.1^2) = 11.2 %.
double relative_error(const std::vector<double>& shares, const ModelErrors& errors);

/// The same for the ratio of two TPOTs. An error of a row that both rest on alike cancels:
///
///   sqrt( sum over rows of ((share of a - share of b) x p90)^2 )
double ratio_error(const std::vector<double>& a, const std::vector<double>& b, const ModelErrors& errors);

/// value / (1 + h) to value / (1 - h): where nine in ten measurements lie if they are off as much as h says.
struct Span {
  double low = 0;
  double high = 0;

  [[nodiscard]] bool holds(double value) const { return low <= value && value <= high; }
};

/// @param relative  as relative_error(); from 1 on there is no upper end
Span span_of(double value, double relative);

}  // namespace foretoken::explain
