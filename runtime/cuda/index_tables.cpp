#include "runtime/cuda/index_tables.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace foretoken::runtime::cuda {

IndexTables::IndexTables(const plan::Plan& plan, RankId rank, const RowTables& tables) {
  for (const plan::Op& op : plan.program.role_of(rank).ops) {
    if (op.kind != plan::OpKind::route) continue;
    for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step) {
      const RoutedRowTable& table = tables.at(step, op.layer, op.micro_batch);
      Offsets offsets{append(table.experts), append(table.selected), append(table.row_of), {}};
      for (const HostedRows& hosted : table.hosted) offsets.sorted.push_back(append(hosted.sorted));
      offsets_.emplace(std::tuple(step, op.layer, op.micro_batch), std::move(offsets));
    }
  }
}

std::size_t IndexTables::append(const std::vector<std::int32_t>& table) {
  const std::size_t offset = all_.size();
  all_.insert(all_.end(), table.begin(), table.end());
  return offset;
}

const IndexTables::Offsets& IndexTables::at(std::int64_t routed_step, const plan::Op& op) const {
  const auto found = offsets_.find({routed_step, op.layer, op.micro_batch});
  FORETOKEN_CHECK(found != offsets_.end(), op.name + " is of a layer without routes");
  return found->second;
}

std::size_t IndexTables::sorted(std::int64_t routed_step, const plan::Op& op) const {
  return at(routed_step, op).sorted[static_cast<std::size_t>(std::max<std::int16_t>(op.chunk, 0))];
}

}  // namespace foretoken::runtime::cuda
