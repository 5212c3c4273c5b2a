// The row tables of planned dispatch as one array of integers, to be copied to a device once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/row_tables.hpp"

namespace foretoken::runtime::cuda {

class IndexTables {
 public:
  IndexTables(const plan::Plan& plan, RankId rank, const RowTables& tables);

  /// Offsets into all(), of one routed step, layer and micro-batch: see RoutedRowTable.
  struct Offsets {
    std::size_t experts = 0;
    std::size_t selected = 0;
    std::size_t row_of = 0;
    std::vector<std::size_t> sorted;  // [chunk], or one
  };
  [[nodiscard]] const Offsets& at(std::int64_t routed_step, const plan::Op& op) const;
  [[nodiscard]] std::size_t sorted(std::int64_t routed_step, const plan::Op& op) const;
  [[nodiscard]] std::span<const std::int32_t> all() const { return all_; }

 private:
  std::size_t append(const std::vector<std::int32_t>& table);
  std::vector<std::int32_t> all_;
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, Offsets> offsets_;
};

}  // namespace foretoken::runtime::cuda
