// The table that nccl-tests prints, whoever measured or predicted the times.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/provenance.hpp"
#include "tools/collective/query.hpp"

namespace foretoken::collective {

/// One size. Definitions, with t the time from all ranks ready to the last byte:
///
///   size    all_reduce: the buffer on each rank. all_gather: what is gathered. reduce_scatter: the input. all_to_all,
///           all_to_all_v: the (largest) buffer that a rank sends, its own part included. send_recv: one message.
///           dispatch, combine: payload of one rank's tokens, each times top_k.
///   count   elements of the call: of the buffer; of one rank's part; tokens per rank
///   algbw   size / t
///   busbw   what a link has to carry, whatever the algorithm: algbw x 2 (n-1)/n for all_reduce, x (n-1)/n for
///           all_gather, reduce_scatter and all_to_all, x 1 for send_recv; all_to_all_v: the most that a rank sends to
///           others or receives from them / t; dispatch, combine: what one rank sends over NVLink and NIC / t
///   GB/s    10^9 bytes per second
struct Row {
  Bytes size;
  std::int64_t count = 0;
  std::string algorithm;
  Seconds time;
  double bus_bytes = 0;  // busbw x time
  Provenance provenance = Provenance::measured;
  std::optional<double> busy;  // live: share of the computer's core time that anybody used meanwhile

  [[nodiscard]] double algbw() const { return time > Seconds(0) ? (size / time).value() : 0; }
  [[nodiscard]] double busbw() const { return time > Seconds(0) ? bus_bytes / time.value() : 0; }
};

struct Table {
  Query query;
  std::string machine;       // topology, or "this computer"
  std::string calibration;   // "" if live, "ideal" without one
  std::string clock;         // "simulated", "wall"
  std::string communicator;  // live: "threads", "mpi"
  int nodes = 1;
  bool zero_latency = false;
  double accuracy = 0;
  double error = 0;             // the largest that the accuracy has cost
  std::int64_t iterations = 0;  // live: that a time is the mean of
  std::vector<Row> rows;
};

/// What bus_bytes is of a row of this operation; for all_to_all_v and exchanges it is found from the traffic instead.
double bus_bytes(Operation op, std::int32_t ranks, Bytes size);
/// Count of a row of this size; not of exchanges.
std::int64_t count_of(const Query& query, Bytes size);

std::string table_text(const Table& table);
/// As tools/cli/collective.schema.json describes.
nlohmann::ordered_json table_json(const Table& table);

}  // namespace foretoken::collective
