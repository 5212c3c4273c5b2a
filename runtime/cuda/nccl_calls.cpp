#include "runtime/cuda/nccl_calls.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace foretoken::runtime::cuda {
namespace {

class CallBuilder {
 public:
  CallBuilder(const plan::Plan& plan, RankId rank, const Channels& channels, const plan::Op& op)
      : plan_(plan), rank_(rank), op_(op), channels_(channels) {
    group_.channel = channels.of(op);
    group_.dtype = op.dtype;
  }

  NcclGroup collective() {
    const auto& detail = std::get<plan::CollectiveOpDetail>(op_.detail);
    const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
    if (communication.algorithm == CollectiveAlgorithm::direct)
      throw Error(ErrorCode::invalid_input,
                  fmt::format("{}: this plan sends everybody everything (direct), and NCCL has no such {}; run it with "
                              "--set deployment.collectives.{}=ring",
                              op_.name, name_of(op_.kind), name_of(op_.kind)));
    if (op_.kind == plan::OpKind::all_reduce) {
      add(NcclVerb::all_reduce, 0, 0, detail.rows * detail.cols, -1);
      return std::move(group_);
    }
    const std::int64_t size = plan_.program.groups[communication.group.index()].size;
    const bool gathers = op_.kind == plan::OpKind::all_gather;
    if (detail.rows % size == 0) {
      add(gathers ? NcclVerb::all_gather : NcclVerb::reduce_scatter, 0, 0, detail.rows / size * detail.cols, -1);
      return std::move(group_);
    }
    for (std::int64_t root = 0; root < size; ++root) {
      const plan::Range slice = plan::split({0, detail.rows}, size, root);
      const std::size_t offset = bytes(slice.begin * detail.cols);
      add(gathers ? NcclVerb::broadcast : NcclVerb::reduce, gathers ? 0 : offset, gathers ? offset : 0,
          slice.size() * detail.cols, root);
    }
    return std::move(group_);
  }

  NcclGroup exchange(const RowTables& tables, std::int64_t routed_step) {
    const auto& detail = std::get<plan::ExchangeOp>(op_.detail);
    const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
    if (communication.exchange == ExchangeAlgorithm::hierarchical)
      throw Error(
          ErrorCode::invalid_input,
          fmt::format("{}: this plan sends a token once per node (hierarchical), which the cuda backend does not "
                      "do yet; run it with --set deployment.collectives.exchange=low_latency",
                      op_.name));
    const plan::GroupFamily& family = plan_.program.groups[communication.group.index()];
    const RoutedRowTable& table = tables.at(routed_step, op_.layer, op_.micro_batch);
    const HostedRows& hosted = tables.hosted(routed_step, op_.layer, op_.micro_batch, op_.chunk);
    const bool dispatch = op_.kind == plan::OpKind::dispatch;
    std::int64_t at_source = 0;
    std::int64_t at_host = 0;
    for (std::int64_t i = 0; i < family.size; ++i) {
      const auto index = static_cast<std::size_t>(i);
      const std::int64_t to_host = detail.source ? table.rows_to[index] * detail.cols : 0;
      const std::int64_t from_source = detail.host ? hosted.rows_from[index] * detail.cols : 0;
      const std::size_t in = bytes(dispatch ? at_source : at_host);
      const std::size_t out = bytes(dispatch ? at_host : at_source);
      if (i == family.index_of(rank_)) {
        FORETOKEN_CHECK(!detail.source || !detail.host || to_host == from_source,
                        "rows to oneself differ at both ends");
        if (detail.source && detail.host && to_host > 0) group_.copies.push_back({in, out, bytes(to_host)});
      } else {
        add(NcclVerb::send, in, 0, dispatch ? to_host : from_source, i);
        add(NcclVerb::receive, 0, out, dispatch ? from_source : to_host, i);
      }
      at_source += to_host;
      at_host += from_source;
    }
    FORETOKEN_CHECK(at_source == detail.source_rows * detail.cols, op_.name + " has other rows than planned");
    return std::move(group_);
  }

  NcclGroup transfer(const plan::Role& role) {
    const auto& detail = std::get<plan::TransferOp>(op_.detail);
    const std::int64_t peer = 1 - channels_.all()[static_cast<std::size_t>(group_.channel)].own;
    if (op_.kind == plan::OpKind::recv) {
      add(NcclVerb::receive, 0, 0, detail.rows * detail.cols, peer);
      return std::move(group_);
    }
    const std::int64_t rows = role.tensors[op_.inputs.front().index()].rows.count;
    std::int64_t first = 0;
    if (detail.rows < rows) {
      const plan::Range slice =
          plan::split({0, rows}, plan_.scenario.deployment.tp, plan_.placement.tp_index_of(rank_));
      FORETOKEN_CHECK(slice.size() == detail.rows, op_.name + " sends other rows than its slice");
      first = slice.begin;
    }
    add(NcclVerb::send, bytes(first * detail.cols), 0, detail.rows * detail.cols, peer);
    return std::move(group_);
  }

 private:
  [[nodiscard]] std::size_t bytes(std::int64_t elements) const {
    return static_cast<std::size_t>(elements * bytes_per_element(op_.dtype));
  }
  // Both ends leave out what is empty.
  void add(NcclVerb verb, std::size_t in, std::size_t out, std::int64_t count, std::int64_t peer) {
    if (count > 0) group_.calls.push_back({verb, in, out, count, peer});
  }

  const plan::Plan& plan_;
  RankId rank_;
  const plan::Op& op_;
  const Channels& channels_;
  NcclGroup group_;
};

}  // namespace

NcclGroup nccl_calls(const plan::Plan& plan, RankId rank, const RowTables& tables, const Channels& channels,
                     const plan::Op& op, std::int64_t routed_step) {
  CallBuilder builder(plan, rank, channels, op);
  switch (op.kind) {
    case plan::OpKind::all_reduce:
    case plan::OpKind::all_gather:
    case plan::OpKind::reduce_scatter: return builder.collective();
    case plan::OpKind::dispatch:
    case plan::OpKind::combine: return builder.exchange(tables, routed_step);
    case plan::OpKind::send:
    case plan::OpKind::recv: return builder.transfer(plan.program.role_of(rank));
    default: break;
  }
  FORETOKEN_CHECK(false, op.name + " is not a communication");
}

}  // namespace foretoken::runtime::cuda
