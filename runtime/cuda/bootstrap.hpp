// What ranks tell each other before there is NCCL and after the run: few bytes, rarely.
#pragma once

#include <cstdint>
#include <vector>

namespace foretoken::runtime::cuda {

class Bootstrap {
 public:
  using Bytes = std::vector<char>;
  Bootstrap() = default;
  Bootstrap(const Bootstrap&) = delete;
  Bootstrap& operator=(const Bootstrap&) = delete;
  virtual ~Bootstrap() = default;

  [[nodiscard]] virtual std::int64_t rank() const = 0;
  [[nodiscard]] virtual std::int64_t ranks() const = 0;
  /// Place among the processes of this computer.
  [[nodiscard]] virtual std::int64_t rank_on_node() const = 0;
  /// Everybody's bytes, at every rank.
  virtual std::vector<Bytes> all_gather(const Bytes& own) = 0;
  /// Everybody's bytes at rank 0, nothing elsewhere.
  virtual std::vector<Bytes> gather(const Bytes& own) = 0;
};

/// A process alone.
class AloneBootstrap final : public Bootstrap {
 public:
  [[nodiscard]] std::int64_t rank() const override { return 0; }
  [[nodiscard]] std::int64_t ranks() const override { return 1; }
  [[nodiscard]] std::int64_t rank_on_node() const override { return 0; }
  std::vector<Bytes> all_gather(const Bytes& own) override { return {own}; }
  std::vector<Bytes> gather(const Bytes& own) override { return {own}; }
};

}  // namespace foretoken::runtime::cuda
