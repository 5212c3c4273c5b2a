// What a rank knows of its routed rows as one array of integers, to be copied to a device once: all of it where the
// plan knows the routing, and else room for what the device will find out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/cuda/arrivals.hpp"
#include "runtime/row_tables.hpp"

namespace foretoken::runtime::cuda {

class IndexTables {
 public:
  /// Keeps a reference to the plan. @throws Error{internal} if experts are reached in chunks
  IndexTables(const plan::Plan& plan, RankId rank, const RowTables& tables);

  /// How many numbers all() would have, for which none is kept.
  static std::int64_t count(const plan::Plan& plan, RankId rank, const RowTables& tables);

  /// Offsets into all(), of one routed step, layer and micro-batch. A place is an expert whose rows this rank orders:
  /// by (host, expert) where it dispatches, else an expert of its own. Where first rows of some are told, one number
  /// more tells the rows of all.
  struct Offsets {
    std::size_t experts = 0;     // [token][choice]
    std::size_t selected = 0;    // [row]: its token
    std::size_t row_of = 0;      // [token][choice]: its row, or -1
    std::size_t first_rows = 0;  // [place + 1]
    std::size_t counts = 0;      // [place]: its rows
    // Where it dispatches, of what it sends …
    std::size_t host_rows = 0;  // [host + 1]: the first row that each host gets
    // … and of what comes; where not, expert_rows are first_rows, and there is nothing else.
    std::size_t arrived = 0;      // [source][expert here]: rows
    std::size_t source_rows = 0;  // [source + 1]: first row of arrival
    std::size_t expert_rows = 0;  // [expert here + 1]: first sorted row
    std::size_t sorted = 0;       // [sorted row]: its row of arrival
  };
  /// Of one layer.
  struct Layer {
    std::size_t place_of_expert = 0;  // [expert]: -1 if it has no rows here
    std::size_t first_place = 0;      // [host + 1]; where it dispatches
    std::int64_t places = 0;
    Arrivals arrivals;  // sources, if it dispatches, and experts here
  };

  [[nodiscard]] const Offsets& at(std::int64_t routed_step, const plan::Op& op) const;
  [[nodiscard]] const Layer& layer(const plan::Op& op) const;
  /// Room for the place of each choice, and for two first rows of each pair of a source and an expert: used by one op
  /// after the other.
  [[nodiscard]] std::size_t place_of_choice() const { return place_of_choice_; }
  [[nodiscard]] std::size_t pairs() const { return pairs_; }
  [[nodiscard]] std::span<const std::int32_t> all() const { return all_; }

 private:
  IndexTables(const plan::Plan& plan, RankId rank, const RowTables& tables, bool kept);
  std::size_t append(std::span<const std::int32_t> table);
  std::size_t reserve(std::int64_t count);
  std::size_t append_first(std::span<const std::int64_t> rows);
  void add_layer(std::int64_t layer, std::int64_t own);
  [[nodiscard]] Offsets known(const RoutedRowTable& table, const Layer& layer);
  [[nodiscard]] Offsets room(const RoutedRowTable& table, const Layer& layer, std::int64_t rows_max);

  const plan::Plan& plan_;
  bool kept_;
  std::int64_t count_ = 0;
  std::vector<std::int32_t> all_;  // empty unless kept_
  std::size_t place_of_choice_ = 0;
  std::size_t pairs_ = 0;
  std::map<std::int64_t, Layer> layers_;
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, Offsets> offsets_;
};

/// The most rows that one expert of the rank gets, in the routed steps or, where the routing is not known, at all.
std::int64_t rows_of_expert_max(const plan::Plan& plan, RankId rank, const RowTables& tables,
                                const plan::Extent& extent);

}  // namespace foretoken::runtime::cuda
