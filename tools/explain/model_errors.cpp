#include "tools/explain/model_errors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/schema_header.hpp"

namespace foretoken::explain {
namespace {

constexpr std::size_t kRowsMax = 256;

ModelError read_row(const JsonReader& place) {
  JsonObject object(place);
  ModelError row;
  for (const JsonReader& op : object.require("ops").as_array(1, 64)) row.ops.push_back(op.as_string());
  if (const auto provenance = object.optional("provenance"))
    for (const JsonReader& one : provenance->as_array(1, kProvenanceNames.size()))
      row.provenance.push_back(one.as_enum(kProvenanceNames));
  row.p90 = object.require("p90").as_share(1e-4, 0.99);
  if (const auto assumed = object.optional("assumed")) row.assumed = assumed->as_bool();
  row.source = object.require("source").as_string();
  object.finish();
  return row;
}

bool holds(const ModelError& row, std::string_view kind, Provenance provenance) {
  const auto has = [](const auto& list, const auto& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  return (has(row.ops, kind) || has(row.ops, "*")) && (row.provenance.empty() || has(row.provenance, provenance));
}

double combined(const std::vector<double>& shares, const ModelErrors& errors) {
  double sum = 0;
  for (std::size_t row = 0; row < shares.size(); ++row) sum += std::pow(shares[row] * errors.rows()[row].p90, 2);
  return std::sqrt(sum);
}

}  // namespace

ModelErrors ModelErrors::read(const JsonDocument& document) {
  JsonObject root(document.root());
  static_cast<void>(read_schema_header(root, "model_errors", 1));
  ModelErrors errors;
  if (const auto about = root.optional("about")) static_cast<void>(about->as_string(true));
  const JsonReader rows = root.require("errors");
  for (const JsonReader& row : rows.as_array(1, kRowsMax)) errors.rows_.push_back(read_row(row));
  root.finish();
  const ModelError& last = errors.rows_.back();
  if (last.ops != std::vector<std::string>{"*"} || !last.provenance.empty())
    rows.fail("the last row holds for some ops alone", "end with \"ops\": [\"*\"] for all that no row names");
  return errors;
}

std::size_t ModelErrors::row_of(std::string_view kind, Provenance provenance) const {
  const auto found =
      std::find_if(rows_.begin(), rows_.end(), [&](const ModelError& row) { return holds(row, kind, provenance); });
  return static_cast<std::size_t>(found - rows_.begin());
}

std::vector<double> error_shares(const CriticalPath& path, const Trace& trace, const ModelErrors& errors) {
  std::vector<double> shares(errors.rows().size());
  for (const PathSegment& segment : path.segments) {
    if (segment.work == PathWork::gap) continue;
    const std::size_t row = errors.row_of(trace.op_of(segment.event).kind, trace.provenance[segment.event]);
    shares[row] += ratio(segment.time(), path.window());
  }
  return shares;
}

double relative_error(const std::vector<double>& shares, const ModelErrors& errors) { return combined(shares, errors); }

double ratio_error(const std::vector<double>& a, const std::vector<double>& b, const ModelErrors& errors) {
  std::vector<double> difference(a.size());
  for (std::size_t row = 0; row < a.size(); ++row) difference[row] = a[row] - b[row];
  return combined(difference, errors);
}

Span span_of(double value, double relative) {
  return {value / (1 + relative), relative < 1 ? value / (1 - relative) : std::numeric_limits<double>::infinity()};
}

}  // namespace foretoken::explain
