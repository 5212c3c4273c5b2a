#include "runtime/cuda/index_tables.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/error.hpp"

namespace foretoken::runtime::cuda {
namespace {

bool dispatches(const plan::Plan& plan) { return plan.scenario.deployment.exchange == plan::ExpertExchange::dispatch; }

}  // namespace

IndexTables::IndexTables(const plan::Plan& plan, RankId rank, const RowTables& tables)
    : IndexTables(plan, rank, tables, true) {}

std::int64_t IndexTables::count(const plan::Plan& plan, RankId rank, const RowTables& tables) {
  return IndexTables(plan, rank, tables, false).count_;
}

IndexTables::IndexTables(const plan::Plan& plan, RankId rank, const RowTables& tables, bool kept)
    : plan_(plan), kept_(kept) {
  std::int64_t choices = 0;
  std::int64_t pairs = 0;
  for (const plan::Op& op : plan.program.role_of(rank).ops) {
    if (op.kind != plan::OpKind::route) continue;
    if (!layers_.contains(op.layer)) add_layer(op.layer, plan.placement.ep_index_of(rank));
    const Layer& layer = layers_.at(op.layer);
    const std::int64_t rows_max =
        layer.arrivals.experts > 0 ? tables.rows_max(plan::Extent::routed(op.layer, op.micro_batch, -1)) : 0;
    for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step) {
      const RoutedRowTable& table = tables.at(step, op.layer, op.micro_batch);
      FORETOKEN_CHECK(table.hosted.size() <= 1, "rows of chunks are not told to a device");
      offsets_.emplace(std::tuple(step, op.layer, op.micro_batch),
                       plan.routing.known() ? known(table, layer) : room(table, layer, rows_max));
      choices = std::max(choices, table.tokens * plan.scenario.model.top_k);
    }
    pairs = std::max(pairs, layer.arrivals.pairs());
  }
  place_of_choice_ = reserve(choices);
  pairs_ = reserve(2 * pairs);
}

// Places are as RowTables orders rows.
void IndexTables::add_layer(std::int64_t layer, std::int64_t own) {
  const plan::Placement& placement = plan_.placement;
  const std::int64_t ep = plan_.scenario.deployment.ep;
  Layer added;
  std::vector<std::int32_t> place_of_expert(static_cast<std::size_t>(plan_.scenario.model.experts), -1);
  std::vector<std::int32_t> first_place{0};
  std::int32_t next = 0;
  const auto take = [&](std::int64_t host) {
    for (const std::int32_t expert : placement.experts_on(layer, host))
      place_of_expert[static_cast<std::size_t>(expert)] = next++;
    first_place.push_back(next);
  };
  added.arrivals.experts = static_cast<std::int64_t>(placement.experts_on(layer, own).size());
  if (dispatches(plan_)) {
    for (std::int64_t host = 0; host < ep; ++host) take(host);
    added.arrivals.sources = ep;
  } else {
    take(own);
  }
  added.places = next;
  added.place_of_expert = append(place_of_expert);
  added.first_place = append(first_place);
  layers_.emplace(layer, added);
}

IndexTables::Offsets IndexTables::known(const RoutedRowTable& table, const Layer& layer) {
  Offsets offsets;
  offsets.experts = append(table.experts);
  offsets.selected = append(table.selected);
  offsets.row_of = append(table.row_of);
  const HostedRows& hosted = table.hosted.front();
  if (!dispatches(plan_)) {
    offsets.counts = append(std::vector<std::int32_t>(hosted.rows_of_expert.begin(), hosted.rows_of_expert.end()));
    offsets.expert_rows = offsets.first_rows = append_first(hosted.rows_of_expert);
    return offsets;
  }
  offsets.counts = append(table.counts);
  offsets.first_rows = append_first(std::vector<std::int64_t>(table.counts.begin(), table.counts.end()));
  offsets.host_rows = append_first(table.rows_to);
  offsets.arrived = reserve(layer.arrivals.pairs());  // where it is read, it has come
  offsets.source_rows = append_first(hosted.rows_from);
  offsets.expert_rows = append_first(hosted.rows_of_expert);
  offsets.sorted = append(hosted.sorted);
  return offsets;
}

IndexTables::Offsets IndexTables::room(const RoutedRowTable& table, const Layer& layer, std::int64_t rows_max) {
  const std::int64_t choices = table.tokens * plan_.scenario.model.top_k;
  Offsets offsets;
  offsets.experts = reserve(choices);
  offsets.selected = reserve(choices);
  offsets.row_of = reserve(choices);
  offsets.first_rows = reserve(layer.places + 1);
  offsets.counts = reserve(layer.places);
  offsets.expert_rows = offsets.first_rows;
  if (!dispatches(plan_)) return offsets;
  offsets.host_rows = reserve(layer.arrivals.sources + 1);
  offsets.arrived = reserve(layer.arrivals.pairs());
  offsets.source_rows = reserve(layer.arrivals.sources + 1);
  offsets.expert_rows = reserve(layer.arrivals.experts + 1);
  offsets.sorted = reserve(rows_max);
  return offsets;
}

std::size_t IndexTables::append(std::span<const std::int32_t> table) {
  const auto offset = static_cast<std::size_t>(count_);
  count_ += std::ssize(table);
  if (kept_) all_.insert(all_.end(), table.begin(), table.end());
  return offset;
}

std::size_t IndexTables::reserve(std::int64_t count) {
  const auto offset = static_cast<std::size_t>(count_);
  count_ += count;
  if (kept_) all_.resize(static_cast<std::size_t>(count_), 0);
  return offset;
}

std::size_t IndexTables::append_first(std::span<const std::int64_t> rows) {
  std::vector<std::int32_t> first{0};
  for (const std::int64_t one : rows) first.push_back(first.back() + static_cast<std::int32_t>(one));
  return append(first);
}

const IndexTables::Offsets& IndexTables::at(std::int64_t routed_step, const plan::Op& op) const {
  const auto found = offsets_.find({routed_step, op.layer, op.micro_batch});
  FORETOKEN_CHECK(found != offsets_.end(), op.name + " is of a layer without routes");
  return found->second;
}

const IndexTables::Layer& IndexTables::layer(const plan::Op& op) const {
  const auto found = layers_.find(op.layer);
  FORETOKEN_CHECK(found != layers_.end(), op.name + " is of a layer without routes");
  return found->second;
}

std::int64_t rows_of_expert_max(const plan::Plan& plan, RankId rank, const RowTables& tables,
                                const plan::Extent& extent) {
  std::int64_t most = 0;
  if (plan.routing.known()) {
    for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step)
      for (const std::int64_t rows : tables.hosted(step, extent.layer, extent.micro_batch, extent.chunk).rows_of_expert)
        most = std::max(most, rows);
    return most;
  }
  // A token's experts are distinct: at most one row of each token that reaches the rank.
  if (!dispatches(plan)) return tables.at(0, extent.layer, extent.micro_batch).tokens;
  const std::int64_t ep = plan.scenario.deployment.ep;
  const std::int64_t first = rank.value() / ep * ep;
  for (std::int64_t source = first; source < first + ep; ++source) {
    const RankId from(static_cast<std::int32_t>(source));
    most += plan.placement.slice(plan.placement.replica_of(from), extent.micro_batch, plan.placement.tp_index_of(from))
                .size();
  }
  return most;
}

}  // namespace foretoken::runtime::cuda
