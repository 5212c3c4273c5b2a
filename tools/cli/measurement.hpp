// How an op of a plan is measured: its shape as text, and the command that measures it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/trace.hpp"
#include "plan/program/resolve.hpp"
#include "tools/cli/load.hpp"

namespace foretoken::cli {

/// Of the ops of a simulated plan, by event of its trace.
class Measurements {
 public:
  /// All are kept by reference.
  /// @param options  that the plan was loaded with; one scenario
  Measurements(const Loaded& loaded, const ScenarioOptions& options, const Trace& trace);

  /// What decides how long the op takes, beside its kind: "bf16, m 128, n 8192, k 4096". Rows that routing decides are
  /// not in it: they differ from step to step.
  [[nodiscard]] std::string shape(std::size_t event) const;

  /// A line for a shell. Collectives by nccl-tests and exchanges by DeepEP's tests, on as many nodes; GEMMs, attention
  /// and collectives that are not NCCL's by any benchmark, whose microseconds stand instead of US; what has none of its
  /// own by `foretoken run`. On a host by `foretoken calibrate host`, whatever the op.
  [[nodiscard]] std::string command(std::size_t event);

 private:
  struct Spread {
    std::int64_t ranks = 1;
    std::int64_t nodes = 1;
  };
  [[nodiscard]] const plan::Op& op_of(std::size_t event) const;
  [[nodiscard]] const plan::Communication& communication_of(CommunicationId id) const;
  [[nodiscard]] Spread spread(CommunicationId id, RankId rank) const;
  [[nodiscard]] std::int64_t tokens_sent(CommunicationId id) const;  // by the rank that sends most
  [[nodiscard]] bool across_nodes(RankId rank, const plan::TransferOp& transfer) const;
  [[nodiscard]] std::vector<std::int64_t> rows(std::size_t event, const plan::Extent& extent);
  [[nodiscard]] std::string run_all() const;
  [[nodiscard]] std::string collective_command(const plan::Op& op, RankId rank,
                                               const plan::CollectiveOpDetail& detail) const;
  [[nodiscard]] std::string exchange_command(const plan::Op& op, RankId rank, const plan::ExchangeOp& detail) const;
  [[nodiscard]] std::string transfer_command(const plan::Op& op, RankId rank, const plan::TransferOp& detail) const;

  const Loaded& loaded_;
  const ScenarioOptions& options_;
  const Trace& trace_;
  plan::RowCounter rows_;
};

}  // namespace foretoken::cli
