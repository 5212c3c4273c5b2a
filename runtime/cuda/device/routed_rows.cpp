#include "runtime/cuda/device/routed_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "core/error.hpp"
#include "runtime/cuda/limits.hpp"

namespace foretoken::runtime::cuda {
namespace {

void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (bytes > 0) check_cuda(cudaMemcpyAsync(to, from, bytes, kind, stream), "cudaMemcpyAsync");
}

// Whether `first`, as device code makes it, holds the running sums of `rows`.
bool sums_up(std::span<const std::int32_t> first, const std::vector<std::int64_t>& rows) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (first[i] != sum) return false;
    sum += rows[i];
  }
  return first[rows.size()] == sum;
}

}  // namespace

RoutedRows::RoutedRows(const plan::Plan& plan, RankId rank, RowTables& tables)
    : plan_(plan),
      rank_(rank),
      tables_(tables),
      known_(plan.routing.known()),
      device_knows_(device_counts(plan)),
      indices_(plan, rank, tables),
      memory_(indices_.all()) {
  std::size_t told = 0;
  for (const plan::Op& op : plan.program.role_of(rank).ops) {
    if (op.kind != plan::OpKind::exchange_counts) continue;
    told_at_[{op.layer, op.micro_batch}] = told;
    told += static_cast<std::size_t>(indices_.layer(op).arrivals.pairs()) + choices(op);
  }
  told_ = PinnedArray<std::int32_t>(told);
}

std::size_t RoutedRows::choices(const plan::Op& op) const {
  return static_cast<std::size_t>(tables_.at(0, op.layer, op.micro_batch).tokens * plan_.scenario.model.top_k);
}

// ---- how many, and where -------------------------------------------------------------------------------------------

Rows RoutedRows::rows(const plan::Op& op, const plan::Extent& extent, std::int64_t routed_step) {
  if (!device_knows_ || extent.kind == plan::Extent::Kind::fixed) return tables_.rows(extent, routed_step);
  const auto [place, added] = rows_max_.try_emplace(extent, 0);
  if (added) place->second = tables_.rows_max(extent);
  return {place->second, expert_rows(op, routed_step) + indices_.layer(op).arrivals.experts};
}

std::int64_t RoutedRows::rows_of_expert(const plan::Extent& extent, std::int64_t routed_step) {
  if (!device_knows_) {
    const auto each = rows_of_each(extent, routed_step);
    return each.empty() ? 0 : *std::max_element(each.begin(), each.end());
  }
  const auto [place, added] = rows_of_expert_max_.try_emplace(extent, 0);
  if (added) place->second = rows_of_expert_max(plan_, rank_, tables_, extent);
  return place->second;
}

std::span<const std::int64_t> RoutedRows::rows_of_each(const plan::Extent& extent, std::int64_t routed_step) const {
  return tables_.hosted(routed_step, extent.layer, extent.micro_batch, extent.chunk).rows_of_expert;
}

const std::int32_t* RoutedRows::selected(const plan::Op& op, std::int64_t routed_step) const {
  return at(indices_.at(routed_step, op).selected);
}
const std::int32_t* RoutedRows::row_of(const plan::Op& op, std::int64_t routed_step) const {
  return at(indices_.at(routed_step, op).row_of);
}
const std::int32_t* RoutedRows::counts(const plan::Op& op, std::int64_t routed_step) const {
  return at(indices_.at(routed_step, op).counts);
}
const std::int32_t* RoutedRows::sorted(const plan::Op& op, std::int64_t routed_step) const {
  return at(indices_.at(routed_step, op).sorted);
}
const std::int32_t* RoutedRows::expert_rows(const plan::Op& op, std::int64_t routed_step) const {
  return at(indices_.at(routed_step, op).expert_rows);
}
const std::int32_t* RoutedRows::chosen(const plan::Op& op, std::int64_t routed_step) const {
  return known_ ? at(indices_.at(routed_step, op).experts) : nullptr;
}

// ---- at the rank of the tokens -------------------------------------------------------------------------------------

void RoutedRows::decided(const plan::Op& route, std::int64_t routed_step, const float* routes, cudaStream_t stream) {
  const auto& shape = std::get<plan::RouteOp>(route.detail);
  const IndexTables::Offsets& table = indices_.at(routed_step, route);
  const IndexTables::Layer& layer = indices_.layer(route);
  std::int32_t* const place_of_choice = at(indices_.place_of_choice());
  take_choices(stream, shape.rows, shape.top_k, routes, at(layer.place_of_expert), at(table.experts), place_of_choice);
  order_rows(stream, RowPacking::exact, shape.rows * shape.top_k, shape.top_k, layer.places, 0, place_of_choice,
             at(table.first_rows), at(table.counts), at(table.row_of), at(table.selected));
  if (layer.arrivals.sources > 0)
    first_rows_of_hosts(stream, layer.arrivals.sources, at(layer.first_place), at(table.first_rows),
                        at(table.host_rows));
}

// ---- messages with slots -------------------------------------------------------------------------------------------

void RoutedRows::fill(const plan::Op& op, std::int64_t routed_step, Slots slots, Queue queue, const std::byte* in,
                      std::byte* leaving) {
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const IndexTables::Offsets& table = indices_.at(routed_step, op);
  const IndexTables::Layer& layer = indices_.layer(op);
  if (op.kind == plan::OpKind::dispatch) {
    if (!detail.source) return;
    write_headers(queue.stream, slots.places, layer.places, at(layer.first_place), at(table.counts),
                  slots.block_rows * detail.cols * bytes_per_element(queue.dtype), leaving);
    spread_rows(queue, detail.source_rows, detail.cols, slots, at(table.host_rows), in, leaving);
  } else if (detail.host) {
    const plan::Extent extent = plan::Extent::routed(op.layer, op.micro_batch, op.chunk);
    spread_rows(queue, rows(op, extent, routed_step), detail.cols, slots, at(table.source_rows), in, leaving);
  }
}

void RoutedRows::empty(const plan::Op& op, std::int64_t routed_step, Slots slots, Queue queue, const std::byte* coming,
                       std::byte* out) {
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const IndexTables::Offsets& table = indices_.at(routed_step, op);
  const IndexTables::Layer& layer = indices_.layer(op);
  if (op.kind == plan::OpKind::combine) {
    if (detail.source) collect_rows(queue, detail.source_rows, detail.cols, slots, at(table.host_rows), coming, out);
    return;
  }
  if (!detail.host) return;
  read_headers(queue.stream, layer.arrivals, slots.block_rows * detail.cols * bytes_per_element(queue.dtype), coming,
               at(table.arrived));
  sort_arrivals(queue.stream, layer.arrivals, at(table.arrived), at(table.source_rows), at(table.expert_rows),
                at(table.sorted), at(indices_.pairs()));
  const plan::Extent extent = plan::Extent::routed(op.layer, op.micro_batch, op.chunk);
  collect_rows(queue, rows(op, extent, routed_step), detail.cols, slots, at(table.source_rows), coming, out);
}

void RoutedRows::require_planned_arrivals() const {
  const std::vector<std::int32_t> found = memory_.read();
  for (const plan::Op& op : plan_.program.role_of(rank_).ops) {
    if (op.kind != plan::OpKind::dispatch || !std::get<plan::ExchangeOp>(op.detail).host) continue;
    for (std::int64_t step = 0; step < plan_.routing.routed_steps(); ++step) {
      const IndexTables::Offsets& table = indices_.at(step, op);
      const HostedRows& hosted = tables_.hosted(step, op.layer, op.micro_batch, op.chunk);
      if (sums_up(std::span(found).subspan(table.source_rows), hosted.rows_from) &&
          sums_up(std::span(found).subspan(table.expert_rows), hosted.rows_of_expert))
        continue;
      throw Error(ErrorCode::rank_failed,
                  fmt::format("{} of routed step {}: the messages' headers tell other numbers of rows than the plan",
                              op.name, step));
    }
  }
}

// ---- what the host is told -----------------------------------------------------------------------------------------

void RoutedRows::take_counts(const plan::Op& op, std::int64_t routed_step, const std::byte* counted,
                             cudaStream_t stream) {
  const IndexTables::Offsets& table = indices_.at(routed_step, op);
  const Arrivals arrivals = indices_.layer(op).arrivals;
  const auto pairs = static_cast<std::size_t>(arrivals.pairs());
  std::int32_t* const told = told_.data() + told_at_.at({op.layer, op.micro_batch});
  if (counted != nullptr) {
    copy(at(table.arrived), counted, pairs * sizeof(std::int32_t), cudaMemcpyDeviceToDevice, stream);
    sort_arrivals(stream, arrivals, at(table.arrived), at(table.source_rows), at(table.expert_rows), at(table.sorted),
                  at(indices_.pairs()));
    copy(told, at(table.arrived), pairs * sizeof(std::int32_t), cudaMemcpyDeviceToHost, stream);
  }
  if (!known_)
    copy(told + pairs, at(table.experts), choices(op) * sizeof(std::int32_t), cudaMemcpyDeviceToHost, stream);
}

void RoutedRows::learn(const plan::Op& op, std::int64_t routed_step) {
  const auto pairs = static_cast<std::size_t>(indices_.layer(op).arrivals.pairs());
  const std::int32_t* const told = told_.data() + told_at_.at({op.layer, op.micro_batch});
  if (!known_) tables_.route(routed_step, op.layer, op.micro_batch, {told + pairs, choices(op)});
  if (pairs > 0) tables_.arrive(routed_step, op.layer, op.micro_batch, op.chunk, {told, pairs});
}

void RoutedRows::learn_routes() {
  const std::vector<std::int32_t> found = memory_.read();
  for (const plan::Op& op : plan_.program.role_of(rank_).ops) {
    if (op.kind != plan::OpKind::route) continue;
    for (std::int64_t step = 0; step < plan_.routing.routed_steps(); ++step)
      tables_.route(step, op.layer, op.micro_batch,
                    std::span(found).subspan(indices_.at(step, op).experts, choices(op)));
  }
}

}  // namespace foretoken::runtime::cuda
