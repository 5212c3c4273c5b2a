#include "sim/communication/node_rows.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "core/error.hpp"

namespace foretoken::sim {

bool sends_once_per_node(const plan::Plan& plan) {
  const plan::DeploymentSpec& deployment = plan.scenario.deployment;
  return deployment.exchange == plan::ExpertExchange::dispatch &&
         deployment.exchange_algorithm == ExchangeAlgorithm::hierarchical;
}

NodeRows::NodeRows(const plan::Plan& plan, const plan::Machine& machine, plan::RowCounter& rows)
    : plan_(plan), machine_(machine), rows_(rows) {
  FORETOKEN_CHECK(plan.scenario.deployment.exchange == plan::ExpertExchange::dispatch, "tokens are dispatched");
}

void NodeRows::find_places(std::int64_t instance) {
  const std::int64_t ep = plan_.scenario.deployment.ep;
  std::map<std::int32_t, std::int32_t> node_of;  // of the machine -> of the group
  places_.clear();
  members_.clear();
  for (std::int64_t i = 0; i < ep; ++i) {
    const std::int32_t node = machine_.node_of(RankId(static_cast<std::int32_t>(instance * ep + i)));
    const auto [entry, is_new] = node_of.try_emplace(node, static_cast<std::int32_t>(members_.size()));
    if (is_new) members_.emplace_back();
    auto& here = members_[static_cast<std::size_t>(entry->second)];
    places_.push_back({entry->second, static_cast<std::int32_t>(here.size())});
    here.push_back(static_cast<std::int32_t>(i));
  }
  most_on_node_ = 0;
  for (const auto& here : members_) most_on_node_ = std::max(most_on_node_, here.size());
}

void NodeRows::find_gateways(std::int64_t layer) {
  gateways_.assign(members_.size(), {});
  for (std::size_t node = 0; node < members_.size(); ++node)
    for (const std::int32_t rank : members_[node])
      if (!plan_.placement.experts_on(layer, rank).empty()) gateways_[node].push_back(rank);
}

// Adds the token with these hosts_.
void NodeRows::count_token(std::int32_t source) {
  const std::size_t nodes = members_.size();
  const auto add_in_node = [&](std::int32_t from, std::int32_t to) {
    const auto place = static_cast<std::size_t>(places_[static_cast<std::size_t>(to)].index);
    ++in_node_[static_cast<std::size_t>(from) * most_on_node_ + place];
  };
  const std::int32_t own = places_[static_cast<std::size_t>(source)].node;
  std::int32_t last = -1;  // hosts ascend, and so do the nodes of a group's ranks
  for (const std::int32_t host : hosts_) {
    const std::int32_t node = places_[static_cast<std::size_t>(host)].node;
    if (node == own) {
      add_in_node(source, host);
      continue;
    }
    const std::int32_t via = gateway(source, node);
    if (node != last) ++across_[static_cast<std::size_t>(source) * nodes + static_cast<std::size_t>(node)];
    if (via != host) add_in_node(via, host);
    last = node;
  }
}

void NodeRows::collect_pairs() {
  const std::size_t nodes = members_.size();
  routed_.pairs.clear();
  for (std::size_t rank = 0; rank < places_.size(); ++rank) {
    const auto from = static_cast<std::int32_t>(rank);
    const auto own = static_cast<std::size_t>(places_[rank].node);
    for (std::size_t node = 0; node < nodes; ++node) {
      if (const std::int64_t rows = across_[rank * nodes + node]; rows > 0)
        routed_.pairs.push_back({from, gateway(from, static_cast<std::int32_t>(node)), rows});
    }
    for (std::size_t place = 0; place < members_[own].size(); ++place) {
      if (const std::int64_t rows = in_node_[rank * most_on_node_ + place]; rows > 0)
        routed_.pairs.push_back({from, members_[own][place], rows});
    }
  }
  std::sort(routed_.pairs.begin(), routed_.pairs.end(), [](const plan::PairRows& a, const plan::PairRows& b) {
    return std::tie(a.source, a.host) < std::tie(b.source, b.host);
  });
}

const plan::RoutedRows& NodeRows::rows(const plan::Communication& communication, std::int64_t instance,
                                       std::int64_t routed_step) {
  const plan::Placement& placement = plan_.placement;
  const std::int64_t ep = plan_.scenario.deployment.ep;
  routed_.rows_of_expert =
      rows_.rows(routed_step, communication.layer, communication.micro_batch, communication.chunk, instance)
          .rows_of_expert;
  find_places(instance);
  find_gateways(communication.layer);
  in_node_.assign(places_.size() * most_on_node_, 0);
  across_.assign(places_.size() * members_.size(), 0);

  const plan::Range sources =
      communication.chunk < 0 ? plan::Range{0, ep} : placement.chunk_sources(communication.chunk);
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(plan_.routing.top_k()));
  for (std::int64_t source = sources.begin; source < sources.end; ++source) {
    const RankId rank(static_cast<std::int32_t>(instance * ep + source));
    const plan::Range tokens =
        placement.slice(placement.replica_of(rank), communication.micro_batch, placement.tp_index_of(rank));
    for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
      plan_.routing.experts_of(routed_step, communication.layer, token, chosen);
      hosts_.clear();
      for (const std::int32_t expert : chosen) hosts_.push_back(placement.host_of(communication.layer, expert));
      std::sort(hosts_.begin(), hosts_.end());
      hosts_.erase(std::unique(hosts_.begin(), hosts_.end()), hosts_.end());
      count_token(static_cast<std::int32_t>(source));
    }
  }
  collect_pairs();
  return routed_;
}

}  // namespace foretoken::sim
