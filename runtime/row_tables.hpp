// Which token rows a rank selects, sends, receives and sorts, for every routed step. The row orders are those of
// plan::RowOrder.
//
// Where the plan knows the routing all of it is known before the first step runs. Where the model's own router decides,
// route() says what it decided. Where a host learns at run time what it gets (dispatch_mode exact and capacity),
// arrive() replaces what was known.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <tuple>
#include <vector>

#include "plan/plan.hpp"

namespace foretoken::runtime {

/// The rows that one chunk of sources (or all of them) has for the experts of this rank.
struct HostedRows {
  std::vector<std::int64_t> rows_of_expert;  // in the order of Placement::experts_on
  std::vector<std::int64_t> rows_from;       // dispatch: [index within the expert group]
  std::vector<std::int32_t> sorted;          // dispatch: the row of arrival that becomes each sorted row
  std::int64_t rows = 0;
};

/// One routed step, layer and micro-batch of one rank.
struct RoutedRowTable {
  std::int64_t tokens = 0;             // whose routes this rank computes: its own, or all of its group
  std::vector<std::int32_t> experts;   // [token][choice]
  std::vector<std::int32_t> selected;  // the token of each row that `select` or `pack` copies
  std::vector<std::int32_t> row_of;    // [token][choice] -> its row among those, or -1
  std::vector<std::int64_t> rows_to;   // dispatch: [index within the expert group]
  std::vector<std::int32_t> counts;    // dispatch: rows by (host, expert), as exchange_counts sends them
  std::vector<HostedRows> hosted;      // [chunk], or one for all sources
};

class RowTables {
 public:
  /// Keeps a reference to the plan.
  RowTables(const plan::Plan& plan, RankId rank);
  RowTables(RowTables&&) noexcept;
  ~RowTables();

  /// What the router has decided.
  /// @param experts [token][choice] of the tokens whose routes this rank computes; a token's are distinct
  void route(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch,
             std::span<const std::int32_t> experts);
  /// What a chunk of sources (or all of them: -1) has for the experts here.
  /// @param counts [source of the chunk][expert in the order of Placement::experts_on]
  void arrive(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch, std::int64_t chunk,
              std::span<const std::int32_t> counts);

  [[nodiscard]] const RoutedRowTable& at(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch) const;
  [[nodiscard]] const HostedRows& hosted(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch,
                                         std::int64_t chunk) const;
  /// Rows of an extent in a routed step.
  [[nodiscard]] std::int64_t rows(const plan::Extent& extent, std::int64_t routed_step) const;
  /// The most that an extent has in any routed step; where the routing is not known, in any routing at all.
  [[nodiscard]] std::int64_t rows_max(const plan::Extent& extent) const;

  [[nodiscard]] const plan::Plan& plan() const { return plan_; }
  [[nodiscard]] RankId rank() const { return rank_; }

 private:
  class Builder;
  const plan::Plan& plan_;
  RankId rank_;
  std::unique_ptr<Builder> builder_;
  std::int64_t routed_steps_;
  bool known_;  // who goes to which expert, beforehand
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, RoutedRowTable> tables_;
};

}  // namespace foretoken::runtime
