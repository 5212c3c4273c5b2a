#include "calibrate/fit/network_report.hpp"

#include <algorithm>
#include <iterator>

#include "calibrate/fit/held_out.hpp"

namespace foretoken::calibrate {
namespace {

using sim::ExchangeOp;

double error_of(Seconds prediction, Seconds measured) { return ratio(prediction, measured) - 1.0; }

}  // namespace

std::vector<double> errors_of(const sim::NetworkCost& cost, ExchangeOp op, const std::vector<ExchangeSample>& rows) {
  std::vector<double> errors;
  for (const ExchangeSample& row : rows) {
    const Seconds measured = op == ExchangeOp::dispatch ? row.dispatch : row.combine;
    if (measured > Seconds(0.0)) errors.push_back(error_of(predicted(cost, op, row), measured));
  }
  return errors;
}

std::vector<double> errors_of(const sim::NetworkCost& cost, CollectiveAlgorithm algorithm,
                              const std::vector<CollectiveSample>& rows) {
  std::vector<double> errors;
  for (const CollectiveSample& row : rows) errors.push_back(error_of(predicted(cost, algorithm, row), row.time));
  return errors;
}

std::vector<double> errors_of(const sim::NetworkCost& cost, const std::vector<MessageSample>& rows) {
  std::vector<double> errors;
  for (const MessageSample& row : rows) errors.push_back(error_of(predicted(cost, row), row.time));
  return errors;
}

void NetworkReport::add(std::string family, std::string subset, bool held_out, const std::vector<double>& errors) {
  if (errors.empty()) return;
  const HeldOut statistics = held_out_statistics(errors);
  residuals_.push_back({std::move(family), std::move(subset), held_out, std::ssize(errors), statistics.median,
                        statistics.p90, statistics.signed_mean});
}

void NetworkReport::add(const std::string& family, const std::string& subset, bool held_out,
                        const sim::NetworkCost& cost, CollectiveAlgorithm algorithm,
                        const std::vector<CollectiveSample>& rows) {
  std::vector<CollectiveSample> small;
  std::vector<CollectiveSample> large;
  std::partition_copy(rows.begin(), rows.end(), std::back_inserter(small), std::back_inserter(large),
                      [](const CollectiveSample& row) { return row.bytes < kSmall; });
  add(family, subset + ", < 1 MiB", held_out, errors_of(cost, algorithm, small));
  add(family, subset + ", >= 1 MiB", held_out, errors_of(cost, algorithm, large));
}

void NetworkReport::add(const std::string& subset, bool held_out, const sim::NetworkCost& cost,
                        const std::vector<ExchangeSample>& rows) {
  add("dispatch", subset, held_out, errors_of(cost, ExchangeOp::dispatch, rows));
  add("combine", subset, held_out, errors_of(cost, ExchangeOp::combine, rows));
}

void NetworkReport::cover(const std::string& family, std::int64_t fold, const std::vector<double>& errors) {
  auto place = std::find_if(covered_.begin(), covered_.end(), [&](const auto& entry) { return entry.first == family; });
  if (place == covered_.end()) {
    covered_.emplace_back(family, HeldOutErrors{});
    place = std::prev(covered_.end());
  }
  for (const double error : errors) place->second.add(error, fold);
}

std::vector<Coverage> NetworkReport::coverage() const {
  std::vector<Coverage> all;
  for (const auto& [family, held_out] : covered_) all.push_back(coverage_of(family, held_out));
  return all;
}

}  // namespace foretoken::calibrate
