#include "plan/program/node_rows.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "core/error.hpp"

namespace foretoken::plan {
namespace {

const GroupFamily& nodes_of(const Program& program) {
  const auto found = std::find_if(program.groups.begin(), program.groups.end(),
                                  [](const GroupFamily& family) { return family.name == "node"; });
  FORETOKEN_CHECK(found != program.groups.end(), "a program that knows its nodes");
  return *found;
}

}  // namespace

bool sends_once_per_node(const Plan& plan) {
  const DeploymentSpec& deployment = plan.scenario.deployment;
  return deployment.exchange == ExpertExchange::dispatch &&
         deployment.exchange_algorithm == ExchangeAlgorithm::hierarchical;
}

std::int64_t weight_cols(const ModelSpec& model) {
  const std::int64_t bytes = model.top_k * bytes_per_element(DType::fp32);
  const std::int64_t element = bytes_per_element(model.dispatch_dtype);
  return (bytes + element - 1) / element;
}

void NodeWays::enter(std::int64_t instance, std::int64_t layer) {
  const std::int64_t ep = plan_.scenario.deployment.ep;
  const GroupFamily& family = nodes_of(plan_.program);
  std::map<RankId, std::int32_t> node_of;  // first rank of the machine's node -> node of the group
  places_.clear();
  members_.clear();
  gateways_.clear();
  for (std::int64_t i = 0; i < ep; ++i) {
    const RankId first = family.first_of(RankId(static_cast<std::int32_t>(instance * ep + i)));
    const auto [entry, is_new] = node_of.try_emplace(first, static_cast<std::int32_t>(members_.size()));
    if (is_new) {
      members_.emplace_back();
      gateways_.emplace_back();
    }
    const auto node = static_cast<std::size_t>(entry->second);
    const auto rank = static_cast<std::int32_t>(i);
    places_.push_back({entry->second, static_cast<std::int32_t>(members_[node].size())});
    members_[node].push_back(rank);
    if (!plan_.placement.experts_on(layer, i).empty()) gateways_[node].push_back(rank);
  }
  layer_ = layer;
}

const std::vector<Hop>& NodeWays::hops(std::int32_t source, std::span<const std::int32_t> experts) {
  hosts_.clear();
  for (const std::int32_t expert : experts) hosts_.push_back(plan_.placement.host_of(layer_, expert));
  std::sort(hosts_.begin(), hosts_.end());
  hosts_.erase(std::unique(hosts_.begin(), hosts_.end()), hosts_.end());
  hops_.clear();
  std::int32_t last = -1;  // hosts ascend, and so do the nodes of a group's ranks
  for (const std::int32_t host : hosts_) {
    const std::int32_t node = node_of(host);
    if (node == node_of(source)) {
      hops_.push_back({source, host, false});
      continue;
    }
    const std::int32_t via = gateway(source, node);
    if (node != last) hops_.push_back({source, via, false});
    if (via != host) hops_.push_back({via, host, true});
    last = node;
  }
  return hops_;
}

NodeRows::NodeRows(const Plan& plan, RowCounter& rows, Legs legs)
    : plan_(plan), rows_(rows), legs_(legs), ways_(plan), chosen_(static_cast<std::size_t>(plan.scenario.model.top_k)) {
  FORETOKEN_CHECK(plan.scenario.deployment.exchange == ExpertExchange::dispatch, "tokens are dispatched");
}

// Adds the token that is chosen_.
void NodeRows::count_token(std::int32_t source) {
  for (const Hop& hop : ways_.hops(source, chosen_)) {
    const std::int32_t node = ways_.node_of(hop.to);
    if (node != ways_.node_of(hop.from)) ++across_[across(hop.from, node)];
    else ++(hop.forwarded ? forwarded_ : direct_)[in_node(hop.from, hop.to)];
  }
}

void NodeRows::add(std::int32_t source, std::int32_t host, std::int64_t rows, std::int32_t round) {
  if (rows > 0) routed_.pairs.push_back({source, host, rows, round});
}

void NodeRows::collect_pairs() {
  const auto ranks = static_cast<std::int32_t>(plan_.scenario.deployment.ep);
  for (std::int32_t from = 0; from < ranks; ++from) {
    for (std::int32_t node = 0; node < ways_.nodes(); ++node)
      if (const std::int64_t rows = across_[across(from, node)]; rows > 0)
        add(from, ways_.gateway(from, node), rows, 0);
    for (const std::int32_t to : ways_.members(ways_.node_of(from)))
      add(from, to, direct_[in_node(from, to)] + forwarded_[in_node(from, to)], 0);
  }
}

void NodeRows::collect_rounds(bool combine) {
  const auto ranks = static_cast<std::int32_t>(plan_.scenario.deployment.ep);
  for (std::int32_t from = 0; from < ranks; ++from) {
    std::int64_t own = 0;  // of its tokens, to whomever
    std::int64_t passed = 0;
    for (std::int32_t node = 0; node < ways_.nodes(); ++node) {
      const std::int64_t rows = across_[across(from, node)];
      own += rows;
      if (rows > 0) add(from, ways_.gateway(from, node), rows, combine ? 1 : 0);
    }
    for (const std::int32_t to : ways_.members(ways_.node_of(from))) {
      const std::int64_t direct = direct_[in_node(from, to)];
      const std::int64_t forwarded = forwarded_[in_node(from, to)];
      own += direct;
      passed += forwarded;
      if (to == from) continue;
      add(from, to, combine ? direct + forwarded : direct, 0);
      if (!combine) add(from, to, forwarded, 1);
    }
    const std::int64_t computed = choices_[static_cast<std::size_t>(from)];
    add(from, from, combine ? computed : own, 0);
    add(from, from, passed, 1);
    add(from, from, combine ? own : computed, 2);
  }
}

const RoutedRows& NodeRows::rows(const Communication& communication, std::int64_t instance, std::int64_t routed_step) {
  const Placement& placement = plan_.placement;
  const auto ep = static_cast<std::int32_t>(plan_.scenario.deployment.ep);
  routed_.rows_of_expert =
      rows_.rows(routed_step, communication.layer, communication.micro_batch, communication.chunk, instance)
          .rows_of_expert;
  routed_.pairs.clear();
  ways_.enter(instance, communication.layer);
  most_on_node_ = 0;
  for (std::int32_t node = 0; node < ways_.nodes(); ++node)
    most_on_node_ = std::max(most_on_node_, ways_.members(node).size());
  const auto ranks = static_cast<std::size_t>(ep);
  direct_.assign(ranks * most_on_node_, 0);
  forwarded_.assign(ranks * most_on_node_, 0);
  across_.assign(ranks * static_cast<std::size_t>(ways_.nodes()), 0);
  choices_.assign(ranks, 0);
  for (std::int32_t rank = 0; rank < ep; ++rank)
    for (const std::int32_t expert : placement.experts_on(communication.layer, rank))
      choices_[static_cast<std::size_t>(rank)] += routed_.rows_of_expert[static_cast<std::size_t>(expert)];

  const Range sources = communication.chunk < 0 ? Range{0, ep} : placement.chunk_sources(communication.chunk);
  for (std::int64_t source = sources.begin; source < sources.end; ++source) {
    const RankId rank(static_cast<std::int32_t>(instance * ep + source));
    const Range tokens =
        placement.slice(placement.replica_of(rank), communication.micro_batch, placement.tp_index_of(rank));
    for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
      plan_.routing.experts_of(routed_step, communication.layer, token, chosen_);
      count_token(static_cast<std::int32_t>(source));
    }
  }
  if (legs_ == Legs::together) collect_pairs();
  else collect_rounds(communication.kind == OpKind::combine);
  std::sort(routed_.pairs.begin(), routed_.pairs.end(), [](const PairRows& a, const PairRows& b) {
    return std::tie(a.source, a.host, a.round) < std::tie(b.source, b.host, b.round);
  });
  return routed_;
}

}  // namespace foretoken::plan
