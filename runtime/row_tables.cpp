#include "runtime/row_tables.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace foretoken::runtime {
namespace {

using plan::Range;

// Builds the tables of one rank. Tokens are named by sequence here.
class TableBuilder {
 public:
  TableBuilder(const plan::Plan& plan, RankId rank)
      : placement_(plan.placement),
        routing_(plan.routing),
        deployment_(plan.scenario.deployment),
        rank_(rank),
        top_k_(plan.scenario.model.top_k),
        experts_(plan.scenario.model.experts),
        chosen_(static_cast<std::size_t>(top_k_)) {}

  RoutedRowTable build(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch) {
    routed_step_ = routed_step;
    layer_ = layer;
    micro_batch_ = micro_batch;
    number_experts();
    RoutedRowTable table;
    if (dispatches()) {
      own_rows(table, slice_of(rank_));
      const std::int64_t chunks = deployment_.overlap == plan::Overlap::micro_stages ? deployment_.chunks : 1;
      for (std::int64_t c = 0; c < chunks; ++c) {
        const bool chunked = deployment_.overlap == plan::Overlap::micro_stages;
        table.hosted.push_back(arriving(chunked ? placement_.chunk_sources(c) : Range{0, deployment_.ep}));
      }
    } else {
      own_rows(table, placement_.sequences(placement_.replica_of(rank_), micro_batch_));
    }
    return table;
  }

 private:
  [[nodiscard]] bool dispatches() const { return deployment_.exchange == plan::ExpertExchange::dispatch; }
  [[nodiscard]] Range slice_of(RankId rank) const {
    return placement_.slice(placement_.replica_of(rank), micro_batch_, placement_.tp_index_of(rank));
  }

  // Place of every expert in the order (host, expert on that host), and of those on this rank in its own order.
  void number_experts() {
    order_of_expert_.assign(static_cast<std::size_t>(experts_), -1);
    local_of_expert_.assign(static_cast<std::size_t>(experts_), -1);
    const std::int64_t own = placement_.ep_index_of(rank_);
    std::int32_t next = 0;
    const std::int64_t hosts = deployment_.placement == plan::ExpertPlacement::sharded ? 1 : deployment_.ep;
    for (std::int64_t host = 0; host < hosts; ++host)
      for (const std::int32_t expert : placement_.experts_on(layer_, host))
        order_of_expert_[static_cast<std::size_t>(expert)] = next++;
    std::int32_t local = 0;
    for (const std::int32_t expert : placement_.experts_on(layer_, own))
      local_of_expert_[static_cast<std::size_t>(expert)] = local++;
  }

  // `select` and `pack`: counting sort of the choices by expert, tokens in order.
  void own_rows(RoutedRowTable& table, Range tokens) {
    table.tokens = tokens.size();
    table.experts.reserve(static_cast<std::size_t>(tokens.size() * top_k_));
    std::vector<std::int64_t> count(static_cast<std::size_t>(experts_) + 1, 0);
    for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
      routing_.experts_of(routed_step_, layer_, token, chosen_);
      for (const std::int32_t expert : chosen_) {
        table.experts.push_back(expert);
        if (taken(expert)) ++count[place(expert) + 1];
      }
    }
    if (!dispatches()) {
      HostedRows hosted;
      for (const std::int32_t expert : placement_.experts_on(layer_, placement_.ep_index_of(rank_))) {
        hosted.rows_of_expert.push_back(count[place(expert) + 1]);
        hosted.rows += hosted.rows_of_expert.back();
      }
      table.hosted.push_back(std::move(hosted));
    } else {
      table.rows_to.assign(static_cast<std::size_t>(deployment_.ep), 0);
      for (const std::int32_t expert : table.experts)
        ++table.rows_to[static_cast<std::size_t>(placement_.host_of(layer_, expert))];
    }
    for (std::size_t i = 1; i < count.size(); ++i) count[i] += count[i - 1];
    table.selected.resize(static_cast<std::size_t>(count.back()));
    table.row_of.assign(table.experts.size(), -1);
    for (std::size_t i = 0; i < table.experts.size(); ++i) {
      if (!taken(table.experts[i])) continue;
      const std::int64_t row = count[place(table.experts[i])]++;
      table.selected[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) / top_k_);
      table.row_of[i] = static_cast<std::int32_t>(row);
    }
  }

  // Dispatch takes every choice, all_reduce those whose expert is here.
  [[nodiscard]] bool taken(std::int32_t expert) const {
    return dispatches() || local_of_expert_[static_cast<std::size_t>(expert)] >= 0;
  }
  [[nodiscard]] std::size_t place(std::int32_t expert) const {
    return static_cast<std::size_t>(order_of_expert_[static_cast<std::size_t>(expert)]);
  }

  HostedRows arriving(Range sources) {
    HostedRows hosted;
    const std::size_t locals = placement_.experts_on(layer_, placement_.ep_index_of(rank_)).size();
    hosted.rows_of_expert.assign(locals, 0);
    hosted.rows_from.assign(static_cast<std::size_t>(deployment_.ep), 0);
    if (locals == 0) return hosted;
    std::vector<std::vector<std::int64_t>> rows(static_cast<std::size_t>(sources.size()));  // [source][local expert]
    const auto first = static_cast<std::int32_t>(rank_.value() / deployment_.ep * deployment_.ep);
    for (std::int64_t source = sources.begin; source < sources.end; ++source) {
      std::vector<std::int64_t>& of_expert = rows[static_cast<std::size_t>(source - sources.begin)];
      of_expert.assign(locals, 0);
      const Range tokens = slice_of(RankId(first + static_cast<std::int32_t>(source)));
      for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
        routing_.experts_of(routed_step_, layer_, token, chosen_);
        for (const std::int32_t expert : chosen_) {
          const std::int32_t local = local_of_expert_[static_cast<std::size_t>(expert)];
          if (local < 0) continue;
          ++of_expert[static_cast<std::size_t>(local)];
          ++hosted.rows_of_expert[static_cast<std::size_t>(local)];
          ++hosted.rows_from[static_cast<std::size_t>(source)];
          ++hosted.rows;
        }
      }
    }
    sort_rows(hosted, rows);
    return hosted;
  }

  // Arrival is by (source, expert, token), wanted is (expert, source, token): blocks of one source and expert move
  // whole.
  static void sort_rows(HostedRows& hosted, const std::vector<std::vector<std::int64_t>>& rows) {
    std::vector<std::vector<std::int64_t>> arrival = rows;  // [source][expert] -> first row of arrival
    std::int64_t next = 0;
    for (auto& of_source : arrival)
      for (std::int64_t& block : of_source) next += std::exchange(block, next);
    hosted.sorted.reserve(static_cast<std::size_t>(hosted.rows));
    for (std::size_t expert = 0; expert < hosted.rows_of_expert.size(); ++expert)
      for (std::size_t source = 0; source < rows.size(); ++source)
        for (std::int64_t i = 0; i < rows[source][expert]; ++i)
          hosted.sorted.push_back(static_cast<std::int32_t>(arrival[source][expert] + i));
  }

  const plan::Placement& placement_;
  const plan::Routing& routing_;
  const plan::DeploymentSpec& deployment_;
  RankId rank_;
  std::int64_t top_k_;
  std::int64_t experts_;
  std::int64_t routed_step_ = 0;
  std::int64_t layer_ = 0;
  std::int64_t micro_batch_ = 0;
  std::vector<std::int32_t> chosen_;
  std::vector<std::int32_t> order_of_expert_;
  std::vector<std::int32_t> local_of_expert_;
};

}  // namespace

RowTables::RowTables(const plan::Plan& plan, RankId rank) : routed_steps_(plan.routing.routed_steps()) {
  TableBuilder builder(plan, rank);
  const plan::ModelSpec& model = plan.scenario.model;
  const Range layers = plan.placement.layers_of_stage(plan.placement.stage_of(rank));
  for (std::int64_t step = 0; step < routed_steps_; ++step)
    for (std::int64_t layer = std::max(layers.begin, model.dense_layers); layer < layers.end; ++layer)
      for (std::int64_t batch = 0; batch < plan.scenario.deployment.micro_batches; ++batch)
        tables_.emplace(std::tuple(step, layer, batch), builder.build(step, layer, batch));
}

const RoutedRowTable& RowTables::at(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch) const {
  const auto found = tables_.find({routed_step, layer, micro_batch});
  FORETOKEN_CHECK(found != tables_.end(), "rows of a layer that is not on this rank");
  return found->second;
}

const HostedRows& RowTables::hosted(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch,
                                    std::int64_t chunk) const {
  return at(routed_step, layer, micro_batch).hosted[static_cast<std::size_t>(std::max<std::int64_t>(chunk, 0))];
}

std::int64_t RowTables::rows(const plan::Extent& extent, std::int64_t routed_step) const {
  if (extent.kind == plan::Extent::Kind::fixed) return extent.count;
  return hosted(routed_step, extent.layer, extent.micro_batch, extent.chunk).rows;
}

std::int64_t RowTables::rows_max(const plan::Extent& extent) const {
  std::int64_t most = 0;
  for (std::int64_t step = 0; step < routed_steps_; ++step) most = std::max(most, rows(extent, step));
  return most;
}

}  // namespace foretoken::runtime
