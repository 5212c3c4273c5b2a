#include "calibrate/fit/network_hold_outs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <type_traits>
#include <utility>

#include "calibrate/fit/held_out.hpp"
#include "calibrate/fit/network_measurements.hpp"

namespace foretoken::calibrate {
namespace {

using Algorithm = CollectiveAlgorithm;
using sim::ExchangeOp;
using sim::NetworkCost;

constexpr std::int64_t kBeyond = 8;  // three octaves

using Shape = std::tuple<int, int, int>;
Shape shape_of(const ExchangeSample& row) { return {row.hidden, row.top_k, row.experts}; }

std::int64_t size_of(const CollectiveSample& row) { return row.bytes.value(); }
std::int64_t size_of(const MessageSample& row) { return row.bytes.value(); }
std::int64_t size_of(const ExchangeSample& row) { return row.tokens; }

// Which fold each group of rows is held out in, by what `group_of` says of a row.
template <class Row, class GroupOf>
auto folds_of_groups(const std::vector<Row>& rows, const GroupOf& group_of, const FoldOptions& folds) {
  std::map<std::decay_t<decltype(group_of(rows.front()))>, std::int64_t> number;
  std::vector<std::int64_t> groups;
  for (const Row& row : rows) groups.push_back(number.try_emplace(group_of(row), std::ssize(number)).first->second);
  const std::vector<std::int64_t> fold_of = deal_folds(groups, folds);
  for (std::size_t i = 0; i < rows.size(); ++i) number[group_of(rows[i])] = fold_of[i];
  return number;
}

template <class Group>
std::set<std::int64_t> folds_in(const std::map<Group, std::int64_t>& fold_of) {
  std::set<std::int64_t> folds;
  for (const auto& [group, fold] : fold_of) folds.insert(fold);
  return folds;
}

// The largest and the smallest sizes from the others. `tell` takes the fit, the rows and what is said of them.
template <class Row, class Fit, class Tell>
void hold_out_beyond(const NetworkCalibration& before, const std::vector<Row>& rows, const Fit& fit, const Tell& tell) {
  const auto [least, most] =
      std::minmax_element(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return size_of(a) < size_of(b); });
  const std::int64_t low = size_of(*least) * kBeyond;
  const std::int64_t high = size_of(*most) / kBeyond;
  const auto above = [high](const Row& row) { return size_of(row) > high; };
  const auto below = [low](const Row& row) { return size_of(row) < low; };
  const auto one_side = [&](const auto& held_out, const char* what) {
    NetworkCalibration trial = before;
    fit(trial, keep(rows, std::not_fn(held_out)));
    tell(NetworkCost(trial), keep(rows, held_out), what);
  };
  one_side(above, "above the sizes seen");
  one_side(below, "below the sizes seen");
}

}  // namespace

void hold_out_sizes(NetworkReport& report, const CollectiveFamily& family, const NetworkCalibration& before,
                    const std::vector<CollectiveSample>& rows) {
  const auto odd = [](const CollectiveSample& row) { return odd_size(row.bytes); };
  NetworkCalibration trial = before;
  family.fit(trial, keep(rows, odd));
  report.add(family.name, "every other size", true, NetworkCost(trial), family.algorithm, keep(rows, std::not_fn(odd)));
  hold_out_beyond(before, rows, family.fit,
                  [&](const NetworkCost& cost, const std::vector<CollectiveSample>& held_out, const char* what) {
                    report.add(family.name, what, true, errors_of(cost, family.algorithm, held_out));
                  });
}

void hold_out_ring(NetworkReport& report, const NetworkCalibration& before, const std::vector<CollectiveSample>& rows) {
  using Group = std::pair<CollectiveOp, int>;
  const auto group_of = [](const CollectiveSample& row) { return Group(row.op, row.ranks); };
  std::set<Group> groups;
  for (const CollectiveSample& row : rows) groups.insert(group_of(row));
  std::int64_t fold = 0;
  for (const Group& group : groups) {
    const auto own = [&](const CollectiveSample& row) { return group_of(row) == group; };
    NetworkCalibration trial = before;
    fit_ring(trial, keep(rows, std::not_fn(own)));
    const NetworkCost cost(trial);
    report.add(fmt::format("ring {}", name_of(group.first)), fmt::format("{} ranks", group.second), true, cost,
               Algorithm::ring, keep(rows, own));
    report.cover("NCCL's ring in one node, by (collective, ranks)", fold++,
                 errors_of(cost, Algorithm::ring, keep(rows, own)));
  }
  for (const auto& [seen, unseen] : {std::pair{CollectiveOp::all_gather, CollectiveOp::all_reduce},
                                     std::pair{CollectiveOp::all_reduce, CollectiveOp::all_gather}}) {
    NetworkCalibration trial = before;
    fit_ring(trial, keep(rows, [op = seen](const CollectiveSample& row) { return row.op == op; }));
    report.add(fmt::format("ring {}", name_of(unseen)), fmt::format("from {} alone", name_of(seen)), true,
               NetworkCost(trial), Algorithm::ring,
               keep(rows, [op = unseen](const CollectiveSample& row) { return row.op == op; }));
  }
  hold_out_sizes(report, {"ring", Algorithm::ring, fit_ring}, before, rows);
}

void hold_out_exchange(NetworkReport& report, const NetworkCalibration& before,
                       const std::vector<ExchangeSample>& rows) {
  std::set<Shape> shapes;
  for (const ExchangeSample& row : rows) shapes.insert(shape_of(row));
  std::int64_t fold = 0;
  for (const Shape& shape : shapes) {
    const auto own = [&](const ExchangeSample& row) { return shape_of(row) == shape; };
    NetworkCalibration trial = before;
    fit_exchange_in_node(trial, keep(rows, std::not_fn(own)));
    const NetworkCost cost(trial);
    const auto& [hidden, top_k, experts] = shape;
    report.add(fmt::format("1 node, hidden {}, top-{}, {} experts", hidden, top_k, experts), true, cost,
               keep(rows, own));
    for (const ExchangeOp op : {ExchangeOp::dispatch, ExchangeOp::combine})
      report.cover("DeepEP low-latency in one node, by (hidden, top-k, experts)", fold,
                   errors_of(cost, op, keep(rows, own)));
    ++fold;
  }
  // What one sort of rows says of the other: the same kernel, short of blocks or of bandwidth.
  for (const bool train_many : {true, false}) {
    const auto seen = [&](const ExchangeSample& row) { return enough_experts(row) == train_many; };
    NetworkCalibration trial = before;
    fit_exchange_in_node(trial, keep(rows, seen));
    report.add(train_many ? "1 node, 8 or 16 experts, from more of them" : "1 node, 128 experts or more, from fewer",
               true, NetworkCost(trial), keep(rows, std::not_fn(seen)));
  }
  hold_out_beyond(before, rows, fit_exchange_in_node,
                  [&](const NetworkCost& cost, const std::vector<ExchangeSample>& held_out, const char* what) {
                    report.add(fmt::format("1 node, {} (tokens)", what), true, cost, held_out);
                  });
}

void hold_out_exchange_across(NetworkReport& report, const NetworkCalibration& before,
                              const std::vector<ExchangeSample>& rows) {
  const auto many_tokens = [](const ExchangeSample& row) { return row.tokens > 64; };
  for (const bool train_many : {true, false}) {
    NetworkCalibration trial = before;
    fit_exchange_across_nodes(trial,
                              keep(rows, [&](const ExchangeSample& row) { return many_tokens(row) == train_many; }));
    report.add(train_many ? "2 nodes, up to 64 tokens" : "2 nodes, more than 64 tokens", true, NetworkCost(trial),
               keep(rows, [&](const ExchangeSample& row) { return many_tokens(row) != train_many; }));
  }
}

void hold_out_hierarchical(NetworkReport& report, const NetworkCalibration& before,
                           const std::vector<ExchangeSample>& in_node, const std::vector<ExchangeSample>& across,
                           const FoldOptions& folds) {
  std::set<int> sizes;
  for (const ExchangeSample& row : across) sizes.insert(row.sms);
  for (const int sms : sizes) {
    const auto held_out = [sms](const ExchangeSample& row) { return row.sms == sms; };
    NetworkCalibration trial = before;
    fit_hierarchical_in_node(trial, keep(in_node, std::not_fn(held_out)));
    fit_hierarchical_across_nodes(trial, keep(across, std::not_fn(held_out)));
    report.add(fmt::format("normal, 1 node, {} SMs", sms), true, NetworkCost(trial), keep(in_node, held_out));
    report.add(fmt::format("normal, 2 nodes, {} SMs", sms), true, NetworkCost(trial), keep(across, held_out));
  }

  const std::map<Shape, std::int64_t> fold_of = folds_of_groups(in_node, shape_of, folds);
  std::vector<double> dispatch;
  std::vector<double> combine;
  for (const std::int64_t fold : folds_in(fold_of)) {
    const auto own = [&](const ExchangeSample& row) { return fold_of.at(shape_of(row)) == fold; };
    NetworkCalibration trial = before;
    fit_hierarchical_in_node(trial, keep(in_node, std::not_fn(own)));
    const NetworkCost cost(trial);
    for (const ExchangeOp op : {ExchangeOp::dispatch, ExchangeOp::combine}) {
      const std::vector<double> errors = errors_of(cost, op, keep(in_node, own));
      std::vector<double>& all = op == ExchangeOp::dispatch ? dispatch : combine;
      all.insert(all.end(), errors.begin(), errors.end());
      report.cover(fmt::format("DeepEP normal {} in one node, by (hidden, top-k, experts)",
                               op == ExchangeOp::dispatch ? "dispatch" : "combine"),
                   fold, errors);
    }
  }
  report.add("dispatch", "normal, 1 node, (hidden, top-k, experts) in folds", true, dispatch);
  report.add("combine", "normal, 1 node, (hidden, top-k, experts) in folds", true, combine);
  hold_out_beyond(before, in_node, fit_hierarchical_in_node,
                  [&](const NetworkCost& cost, const std::vector<ExchangeSample>& held_out, const char* what) {
                    report.add(fmt::format("normal, 1 node, {} (tokens)", what), true, cost, held_out);
                  });
}

void hold_out_messages(NetworkReport& report, const NetworkCalibration& before, const std::vector<MessageSample>& rows,
                       const FoldOptions& folds) {
  const auto name_of_span = [](bool across) { return across ? "message across nodes" : "message in a node"; };
  const auto of_span = [](const std::vector<MessageSample>& all, bool across) {
    return keep(all, [across](const MessageSample& row) { return row.across_nodes == across; });
  };
  const auto cost_from = [&](const std::vector<MessageSample>& seen) {
    NetworkCalibration trial = before;
    fit_messages(trial, seen);
    return NetworkCost(trial);
  };
  for (const bool seen_odd : {true, false}) {
    const auto seen = [seen_odd](const MessageSample& row) { return odd_size(row.bytes) == seen_odd; };
    const NetworkCost cost = cost_from(keep(rows, seen));
    for (const bool across : {false, true}) {
      const std::vector<double> errors = errors_of(cost, of_span(keep(rows, std::not_fn(seen)), across));
      if (seen_odd) report.add(name_of_span(across), "every other octave of sizes", true, errors);
      report.cover(std::string(name_of_span(across)) + ", every other octave of sizes", seen_odd ? 0 : 1, errors);
    }
  }

  const auto octave_of = [](const MessageSample& row) { return octave(row.bytes); };
  const std::map<int, std::int64_t> fold_of = folds_of_groups(rows, octave_of, folds);
  for (const std::int64_t fold : folds_in(fold_of)) {
    const auto own = [&](const MessageSample& row) { return fold_of.at(octave_of(row)) == fold; };
    const NetworkCost cost = cost_from(keep(rows, std::not_fn(own)));
    for (const bool across : {false, true})
      report.cover(std::string(name_of_span(across)) + ", by octave of sizes", fold,
                   errors_of(cost, of_span(keep(rows, own), across)));
  }
  hold_out_beyond(before, rows, fit_messages,
                  [&](const NetworkCost& cost, const std::vector<MessageSample>& held_out, const char* what) {
                    for (const bool across : {false, true})
                      report.add(name_of_span(across), what, true, errors_of(cost, of_span(held_out, across)));
                  });
}

}  // namespace foretoken::calibrate
