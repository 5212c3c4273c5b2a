#include "tools/collective/simulated.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"

namespace foretoken::collective {
namespace {

void check_flows(const Query& query) {
  const std::int64_t flows = std::int64_t{query.ranks} * (query.ranks - 1);
  if (!is_collective(query.op) && query.op != Operation::send_recv && flows > kFlowsMax)
    throw input_error("--ranks", "", fmt::format("{} ranks have {} messages", query.ranks, flows),
                      fmt::format("at most {} are simulated one by one", kFlowsMax));
}

sim::TokenExchange exchange_of(const Query& query, const sim::Alone& alone, ExchangeAlgorithm algorithm,
                               std::int64_t tokens) {
  const ExchangeShape& shape = query.exchange;
  if (!alone.evenly_spread())
    throw input_error("--ranks", "",
                      fmt::format("{} ranks are spread unevenly over {} nodes", query.ranks, alone.nodes()),
                      "fill whole nodes");
  if (shape.experts % query.ranks != 0)
    throw input_error("--experts", "",
                      fmt::format("{} experts are spread unevenly over {} ranks", shape.experts, query.ranks),
                      "write a multiple of the ranks");
  if (shape.top_k > shape.experts)
    throw input_error("--top-k", "", fmt::format("a token cannot have {} of {} experts", shape.top_k, shape.experts),
                      "write at most as many as there are experts");
  const auto op = query.op == Operation::dispatch ? sim::ExchangeOp::dispatch : sim::ExchangeOp::combine;
  return {query.ranks, alone.nodes(), static_cast<int>(tokens),
          shape.top_k, shape.experts, sim::token_row_bytes(op, algorithm, shape.hidden, query.dtype)};
}

// All but exchanges, of GPUs or of a host.
template <class Communications>
Row plain_row(const Query& query, const Communications& alone, int nodes, bool nvls, std::int64_t asked,
              sim::AloneResult& result) {
  Row row;
  row.size = whole_size(query, Bytes(asked));
  row.count = count_of(query, row.size);
  row.bus_bytes = bus_bytes(query.op, query.ranks, row.size);
  if (is_collective(query.op)) {
    const auto algorithm = collective_algorithm(query, nodes, row.size, nvls);
    row.algorithm = name_of(algorithm);
    result = alone.collective(collective_of(query.op), algorithm, row.size);
  } else if (query.op == Operation::send_recv) {
    if (query.algorithm != "auto" && query.algorithm != "direct")
      throw input_error("--algorithm " + query.algorithm, "", "send_recv has no such algorithm", "leave it out");
    row.algorithm = "direct";
    result = alone.send_recv(row.size);
  } else {
    const AllToAllAlgorithm algorithm = all_to_all_algorithm(query);
    row.algorithm = name_of(algorithm);
    const sim::TrafficMatrix matrix = traffic_of(query, row.size);
    result = alone.all_to_all(algorithm, matrix);
    if (query.op == Operation::all_to_all_v) {
      row.size = matrix.buffer_max();
      row.bus_bytes = static_cast<double>(matrix.busiest().value());
    }
  }
  return row;
}

Row exchange_row(const Query& query, const sim::Alone& alone, std::int64_t tokens, sim::AloneResult& result) {
  const ExchangeAlgorithm algorithm = exchange_algorithm(query, tokens);
  const sim::TokenExchange exchange = exchange_of(query, alone, algorithm, tokens);
  const auto op = query.op == Operation::dispatch ? sim::ExchangeOp::dispatch : sim::ExchangeOp::combine;
  result = alone.exchange(op, algorithm, exchange, query.exchange.sms);
  const sim::TokenExchangeBytes bytes = sim::token_exchange_bytes(algorithm, exchange);
  Row row;
  row.size = exchange.row * (tokens * exchange.top_k);
  row.count = tokens;
  row.algorithm = name_of(algorithm);
  row.bus_bytes = bytes.in_node_sent + bytes.across_sent;
  return row;
}

Row row_of(const Query& query, const sim::Alone& alone, std::int64_t asked, sim::AloneResult& result) {
  if (is_exchange(query.op)) return exchange_row(query, alone, asked, result);
  return plain_row(query, alone, alone.nodes(), alone.fabric().machine().nvls(), asked, result);
}

template <class RowOf>
void add_rows(Table& table, const RowOf& row_of_size, const std::function<void(std::size_t, std::size_t)>& progress) {
  const std::vector<std::int64_t>& sizes = table.query.sizes;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (progress) progress(i, sizes.size());
    sim::AloneResult result;
    Row row = row_of_size(sizes[i], result);
    // Sizes below one element each are the same size.
    if (!table.rows.empty() && table.rows.back().size == row.size && table.rows.back().count == row.count) continue;
    row.time = result.time;
    row.provenance = result.provenance;
    table.error = std::max(table.error, result.error);
    table.rows.push_back(std::move(row));
  }
}

Table empty_table(const Query& query, const plan::Machine& machine, int nodes, const sim::AloneOptions& options) {
  Table table;
  table.query = query;
  table.machine = machine.name();
  table.clock = "simulated";
  table.nodes = nodes;
  table.zero_latency = options.zero_latency;
  table.accuracy = options.accuracy;
  return table;
}

}  // namespace

Table simulate(const Query& query, const sim::Fabric& fabric, const sim::AloneOptions& options,
               const std::function<void(std::size_t, std::size_t)>& progress) {
  check_flows(query);
  const sim::Alone alone(fabric, query.ranks, options);
  Table table = empty_table(query, fabric.machine(), alone.nodes(), options);
  add_rows(
      table, [&](std::int64_t size, sim::AloneResult& result) { return row_of(query, alone, size, result); }, progress);
  return table;
}

Row simulate_row(const Query& query, const sim::Alone& alone, std::int64_t asked) {
  check_flows(query);
  sim::AloneResult result;
  Row row = row_of(query, alone, asked, result);
  row.time = result.time;
  row.provenance = result.provenance;
  return row;
}

Table simulate(const Query& query, const plan::Machine& machine, const sim::HostTransport& transport,
               const sim::AloneOptions& options, const std::function<void(std::size_t, std::size_t)>& progress) {
  require_host_has(query);
  const sim::HostAlone alone(transport, query.ranks, options);
  Table table = empty_table(query, machine, 1, options);
  add_rows(
      table,
      [&](std::int64_t size, sim::AloneResult& result) { return plain_row(query, alone, 1, false, size, result); },
      progress);
  return table;
}

}  // namespace foretoken::collective
