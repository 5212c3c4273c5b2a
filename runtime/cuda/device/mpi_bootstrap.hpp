// What ranks tell each other, by MPI.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/cuda/bootstrap.hpp"

namespace foretoken::runtime::cuda {

/// Over MPI_COMM_WORLD, which MpiProcess has initialised. All throw Error{rank_failed} naming the call of MPI.
class MpiBootstrap final : public Bootstrap {
 public:
  MpiBootstrap();
  [[nodiscard]] std::int64_t rank() const override { return rank_; }
  [[nodiscard]] std::int64_t ranks() const override { return ranks_; }
  [[nodiscard]] std::int64_t rank_on_node() const override { return rank_on_node_; }
  std::vector<Bytes> all_gather(const Bytes& own) override;
  std::vector<Bytes> gather(const Bytes& own) override;

 private:
  std::int64_t rank_ = 0;
  std::int64_t ranks_ = 1;
  std::int64_t rank_on_node_ = 0;
};

}  // namespace foretoken::runtime::cuda
