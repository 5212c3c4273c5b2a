#include "tools/collective/table.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace foretoken::collective {
namespace {

constexpr double kBytesPerGigabyte = 1e9;

std::string heading(const Table& table) {
  const Query& query = table.query;
  std::string text = fmt::format("# {} among {} ranks on {} node{} of {}, {}", name_of(query.op), query.ranks,
                                 table.nodes, table.nodes == 1 ? "" : "s", table.machine, name_of(query.dtype));
  if (is_exchange(query.op))
    text += fmt::format(", hidden {}, top-{} of {} experts", query.exchange.hidden, query.exchange.top_k,
                        query.exchange.experts);
  if (query.op == Operation::all_to_all_v) text += ", pattern " + query.pattern;
  text += table.clock == "wall"
              ? fmt::format("\n# measured, mean of {} iterations, messages by {}", table.iterations, table.communicator)
              : fmt::format("\n# simulated, calibration {}", table.calibration);
  if (table.zero_latency) text += ", no latency";
  if (table.accuracy > 0) text += fmt::format(", accuracy {:g}, error made {:.2g}", table.accuracy, table.error);
  return text + "\n";
}

// One rank moves nothing, and nothing says how long that takes.
bool rests_on_fits(const Table& table) {
  return table.clock != "wall" && table.calibration != "ideal" && table.query.ranks > 1;
}

// Four digits that matter, as nccl-tests prints times.
std::string time_text(Seconds time) {
  const double us = microseconds(time);
  return us < 100 ? fmt::format("{:.2f}", us) : us < 1e5 ? fmt::format("{:.1f}", us) : fmt::format("{:.0f}", us);
}

}  // namespace

double bus_bytes(Operation op, std::int32_t ranks, Bytes size) {
  const double part = (ranks - 1.0) / ranks * static_cast<double>(size.value());
  switch (op) {
    case Operation::all_reduce: return 2 * part;
    case Operation::all_gather:
    case Operation::reduce_scatter:
    case Operation::all_to_all: return part;
    default: return static_cast<double>(size.value());
  }
}

std::int64_t count_of(const Query& query, Bytes size) {
  const std::int64_t elements = size.value() / bytes_per_element(query.dtype);
  return query.op == Operation::all_reduce || query.op == Operation::send_recv ? elements : elements / query.ranks;
}

std::string table_text(const Table& table) {
  const bool exchange = is_exchange(table.query.op);
  const bool with_provenance = rests_on_fits(table);
  std::string text = heading(table);
  text += fmt::format("#{:>13} {:>13} {:>12} {:>11} {:>9} {:>9}{}\n", "size", exchange ? "tokens" : "count",
                      "algorithm", "time", "algbw", "busbw", with_provenance ? "  rests on" : "");
  text += fmt::format("#{:>13} {:>13} {:>12} {:>11} {:>9} {:>9}\n", "(B)", exchange ? "(per rank)" : "(elements)", "",
                      "(us)", "(GB/s)", "(GB/s)");
  for (const Row& row : table.rows)
    text += fmt::format("{:>14} {:>13} {:>12} {:>11} {:>9.2f} {:>9.2f}{}\n", row.size.value(), row.count, row.algorithm,
                        time_text(row.time), row.algbw() / kBytesPerGigabyte, row.busbw() / kBytesPerGigabyte,
                        with_provenance ? fmt::format("  {}", name_of(row.provenance)) : "");
  return text;
}

nlohmann::ordered_json table_json(const Table& table) {
  const Query& query = table.query;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Row& row : table.rows) {
    nlohmann::ordered_json one{{"size_bytes", row.size.value()},
                               {is_exchange(query.op) ? "tokens" : "count", row.count},
                               {"algorithm", row.algorithm},
                               {"time_us", microseconds(row.time)},
                               {"algbw_bytes_per_second", row.algbw()},
                               {"busbw_bytes_per_second", row.busbw()}};
    if (row.busy) one["busy"] = *row.busy;
    if (rests_on_fits(table)) one["provenance"] = std::string(name_of(row.provenance));
    rows.push_back(std::move(one));
  }
  nlohmann::ordered_json out{{"schema_version", 1},
                             {"kind", "collective"},
                             {"operation", std::string(name_of(query.op))},
                             {"machine", table.machine},
                             {"calibration", table.calibration},
                             {"clock", table.clock},
                             {"ranks", query.ranks},
                             {"nodes", table.nodes},
                             {"dtype", std::string(name_of(query.dtype))}};
  if (table.clock == "wall") {
    out["communicator"] = table.communicator;
    out["iterations"] = table.iterations;
  } else {
    out["zero_latency"] = table.zero_latency;
    out["accuracy"] = table.accuracy;
    out["error"] = table.error;
  }
  if (query.op == Operation::all_to_all_v) out["pattern"] = query.pattern;
  if (is_exchange(query.op))
    out["exchange"] = {{"hidden", query.exchange.hidden},
                       {"top_k", query.exchange.top_k},
                       {"experts", query.exchange.experts},
                       {"sms", query.exchange.sms}};
  out["rows"] = std::move(rows);
  return out;
}

}  // namespace foretoken::collective
