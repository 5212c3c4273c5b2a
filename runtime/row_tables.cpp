#include "runtime/row_tables.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace foretoken::runtime {
using plan::Range;

// Builds the tables of one rank. Tokens are named by sequence here.
class RowTables::Builder {
 public:
  Builder(const plan::Plan& plan, RankId rank)
      : placement_(plan.placement),
        routing_(plan.routing),
        deployment_(plan.scenario.deployment),
        rank_(rank),
        top_k_(plan.scenario.model.top_k),
        experts_(plan.scenario.model.experts),
        chosen_(static_cast<std::size_t>(top_k_)) {}

  /// All that is known beforehand.
  RoutedRowTable build(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch) {
    set_place(routed_step, layer, micro_batch);
    RoutedRowTable table;
    const Range tokens = tokens_here();
    table.tokens = tokens.size();
    if (routing_.known()) {
      table.experts.reserve(static_cast<std::size_t>(tokens.size() * top_k_));
      for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
        routing_.experts_of(routed_step_, layer_, token, chosen_);
        table.experts.insert(table.experts.end(), chosen_.begin(), chosen_.end());
      }
      lay_out(table);
    }
    if (dispatches())
      for (std::int64_t c = 0; c < chunks(); ++c)
        table.hosted.push_back(routing_.known() ? arriving(sources_of(c)) : no_rows());
    return table;
  }

  void route(RoutedRowTable& table, std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch,
             std::span<const std::int32_t> experts) {
    set_place(routed_step, layer, micro_batch);
    FORETOKEN_CHECK(static_cast<std::int64_t>(experts.size()) == table.tokens * top_k_, "routes of other tokens");
    table.experts.assign(experts.begin(), experts.end());
    lay_out(table);
  }

  HostedRows arrived(std::int64_t layer, std::int64_t chunk, std::span<const std::int32_t> counts) {
    set_place(routed_step_, layer, micro_batch_);
    const Range sources = sources_of(chunk);
    const std::size_t locals = experts_here().size();
    FORETOKEN_CHECK(counts.size() == static_cast<std::size_t>(sources.size()) * locals, "counts of other sources");
    HostedRows hosted = no_rows();
    std::vector<std::vector<std::int64_t>> rows;  // [source][local expert]
    for (std::int64_t source = sources.begin; source < sources.end; ++source) {
      const auto of_source = counts.subspan(static_cast<std::size_t>(source - sources.begin) * locals, locals);
      rows.emplace_back(of_source.begin(), of_source.end());
      for (std::size_t local = 0; local < locals; ++local) add_rows(hosted, source, local, of_source[local]);
    }
    sort_rows(hosted, rows);
    return hosted;
  }

  /// The most rows that any routing gives to the experts here. A token's experts are distinct.
  [[nodiscard]] std::int64_t rows_bound(const plan::Extent& extent) {
    set_place(0, extent.layer, extent.micro_batch);
    std::int64_t tokens = tokens_here().size();
    if (dispatches()) {
      tokens = 0;
      const Range sources = sources_of(std::max<std::int64_t>(extent.chunk, 0));
      for (std::int64_t source = sources.begin; source < sources.end; ++source)
        tokens += slice_of(member(source)).size();
    }
    return tokens * std::min(top_k_, static_cast<std::int64_t>(experts_here().size()));
  }

 private:
  [[nodiscard]] bool dispatches() const { return deployment_.exchange == plan::ExpertExchange::dispatch; }
  [[nodiscard]] Range slice_of(RankId rank) const {
    return placement_.slice(placement_.replica_of(rank), micro_batch_, placement_.tp_index_of(rank));
  }

  [[nodiscard]] Range tokens_here() const {
    return dispatches() ? slice_of(rank_) : placement_.sequences(placement_.replica_of(rank_), micro_batch_);
  }
  [[nodiscard]] std::span<const std::int32_t> experts_here() const {
    return placement_.experts_on(layer_, placement_.ep_index_of(rank_));
  }
  [[nodiscard]] bool chunked() const { return deployment_.overlap == plan::Overlap::micro_stages; }
  [[nodiscard]] std::int64_t chunks() const { return chunked() ? deployment_.chunks : 1; }
  [[nodiscard]] Range sources_of(std::int64_t chunk) const {
    return chunked() ? placement_.chunk_sources(chunk) : Range{0, deployment_.ep};
  }
  [[nodiscard]] RankId member(std::int64_t index) const {
    return RankId(static_cast<std::int32_t>(rank_.value() / deployment_.ep * deployment_.ep + index));
  }

  void set_place(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch) {
    routed_step_ = routed_step;
    micro_batch_ = micro_batch;
    if (layer_ == layer) return;
    layer_ = layer;
    number_experts();
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
  void lay_out(RoutedRowTable& table) {
    std::vector<std::int64_t> count(static_cast<std::size_t>(experts_) + 1, 0);
    for (const std::int32_t expert : table.experts)
      if (taken(expert)) ++count[place(expert) + 1];
    if (!dispatches()) {
      HostedRows hosted;
      for (const std::int32_t expert : experts_here()) {
        hosted.rows_of_expert.push_back(count[place(expert) + 1]);
        hosted.rows += hosted.rows_of_expert.back();
      }
      table.hosted.assign(1, std::move(hosted));
    } else {
      table.rows_to.assign(static_cast<std::size_t>(deployment_.ep), 0);
      for (const std::int32_t expert : table.experts)
        ++table.rows_to[static_cast<std::size_t>(placement_.host_of(layer_, expert))];
      table.counts.assign(count.begin() + 1, count.end());
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

  [[nodiscard]] HostedRows no_rows() const {
    HostedRows hosted;
    hosted.rows_of_expert.assign(experts_here().size(), 0);
    hosted.rows_from.assign(static_cast<std::size_t>(deployment_.ep), 0);
    return hosted;
  }
  static void add_rows(HostedRows& hosted, std::int64_t source, std::size_t local, std::int64_t rows) {
    hosted.rows_of_expert[local] += rows;
    hosted.rows_from[static_cast<std::size_t>(source)] += rows;
    hosted.rows += rows;
  }

  HostedRows arriving(Range sources) {
    HostedRows hosted = no_rows();
    if (experts_here().empty()) return hosted;
    std::vector<std::vector<std::int64_t>> rows(static_cast<std::size_t>(sources.size()));  // [source][local expert]
    for (std::int64_t source = sources.begin; source < sources.end; ++source) {
      std::vector<std::int64_t>& of_expert = rows[static_cast<std::size_t>(source - sources.begin)];
      of_expert.assign(experts_here().size(), 0);
      const Range tokens = slice_of(member(source));
      for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
        routing_.experts_of(routed_step_, layer_, token, chosen_);
        for (const std::int32_t expert : chosen_) {
          const std::int32_t local = local_of_expert_[static_cast<std::size_t>(expert)];
          if (local < 0) continue;
          ++of_expert[static_cast<std::size_t>(local)];
          add_rows(hosted, source, static_cast<std::size_t>(local), 1);
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
  std::int64_t layer_ = -1;
  std::int64_t micro_batch_ = 0;
  std::vector<std::int32_t> chosen_;
  std::vector<std::int32_t> order_of_expert_;
  std::vector<std::int32_t> local_of_expert_;
};

RowTables::RowTables(const plan::Plan& plan, RankId rank)
    : plan_(plan),
      rank_(rank),
      builder_(std::make_unique<Builder>(plan, rank)),
      routed_steps_(plan.routing.routed_steps()),
      known_(plan.routing.known()) {
  const plan::ModelSpec& model = plan.scenario.model;
  const Range layers = plan.placement.layers_of_stage(plan.placement.stage_of(rank));
  for (std::int64_t step = 0; step < routed_steps_; ++step)
    for (std::int64_t layer = std::max(layers.begin, model.dense_layers); layer < layers.end; ++layer)
      for (std::int64_t batch = 0; batch < plan.scenario.deployment.micro_batches; ++batch)
        tables_.emplace(std::tuple(step, layer, batch), builder_->build(step, layer, batch));
}

RowTables::RowTables(RowTables&&) noexcept = default;
RowTables::~RowTables() = default;

void RowTables::route(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch,
                      std::span<const std::int32_t> experts) {
  builder_->route(tables_.at({routed_step, layer, micro_batch}), routed_step, layer, micro_batch, experts);
}

void RowTables::arrive(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch, std::int64_t chunk,
                       std::span<const std::int32_t> counts) {
  const std::int64_t which = std::max<std::int64_t>(chunk, 0);
  tables_.at({routed_step, layer, micro_batch}).hosted.at(static_cast<std::size_t>(which)) =
      builder_->arrived(layer, which, counts);
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
  if (extent.kind == plan::Extent::Kind::fixed) return extent.count;
  if (!known_) return builder_->rows_bound(extent);
  std::int64_t most = 0;
  for (std::int64_t step = 0; step < routed_steps_; ++step) most = std::max(most, rows(extent, step));
  return most;
}

}  // namespace foretoken::runtime
