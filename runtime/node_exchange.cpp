#include "runtime/node_exchange.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "core/error.hpp"

namespace foretoken::runtime {
namespace {

struct Visitor {
  std::int32_t from = 0;
  bool forwarded = false;
};

class Builder {
 public:
  Builder(const plan::Plan& plan, RankId rank, std::int64_t routed_step, std::int64_t layer)
      : plan_(plan),
        ways_(plan),
        routed_step_(routed_step),
        layer_(layer),
        ep_(plan.scenario.deployment.ep),
        instance_(rank.value() / ep_),
        own_(static_cast<std::int32_t>(plan.placement.ep_index_of(rank))),
        local_of_expert_(static_cast<std::size_t>(plan.scenario.model.experts), -1),
        chosen_(static_cast<std::size_t>(plan.scenario.model.top_k)) {
    ways_.enter(instance_, layer);
    std::int32_t local = 0;
    for (const std::int32_t expert : plan.placement.experts_on(layer, own_))
      local_of_expert_[static_cast<std::size_t>(expert)] = local++;
  }

  NodeExchange build(std::int64_t micro_batch, plan::Range sources) {
    for (std::int64_t source = sources.begin; source < sources.end; ++source) {
      const RankId rank(static_cast<std::int32_t>(instance_ * ep_ + source));
      const plan::Range tokens =
          plan_.placement.slice(plan_.placement.replica_of(rank), micro_batch, plan_.placement.tp_index_of(rank));
      for (std::int64_t token = tokens.begin; token < tokens.end; ++token)
        take_token(static_cast<std::int32_t>(source), token, static_cast<std::int32_t>(token - tokens.begin));
      number_rows();
    }
    number_visitors();
    return std::move(result_);
  }

 private:
  void take_token(std::int32_t source, std::int64_t token, std::int32_t index) {
    plan_.routing.experts_of(routed_step_, layer_, token, chosen_);
    const auto next = static_cast<std::int32_t>(visitors_.size());
    for (const plan::Hop& hop : ways_.hops(source, chosen_)) {
      if (hop.from == own_) (hop.forwarded ? passing_ : leaving_)[hop.to].push_back(hop.forwarded ? next : index);
      if (hop.to == own_) visitors_.push_back({hop.from, hop.forwarded});
    }
    for (std::size_t choice = 0; choice < chosen_.size(); ++choice) {
      const std::int32_t local = local_of_expert_[static_cast<std::size_t>(chosen_[choice])];
      if (local >= 0) of_source_.emplace_back(local, NodeExchange::Use{next, static_cast<std::int32_t>(choice), -1});
    }
  }

  // The rows of one source, by (expert, token).
  void number_rows() {
    std::stable_sort(of_source_.begin(), of_source_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [local, use] : of_source_) {
      use.row = static_cast<std::int32_t>(result_.uses.size());
      result_.uses.push_back(use);
    }
    of_source_.clear();
  }

  // From the order of (source, token), in which they were taken, to (from, direct first, source, token), its own tokens
  // last.
  void number_visitors() {
    std::vector<std::int32_t> order(visitors_.size());
    std::iota(order.begin(), order.end(), 0);
    const auto key = [&](std::int32_t v) {
      const Visitor& visitor = visitors_[static_cast<std::size_t>(v)];
      return std::tuple(visitor.from == own_, visitor.from, visitor.forwarded);
    };
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return key(a) < key(b); });
    std::vector<std::int32_t> number(visitors_.size());
    for (std::size_t n = 0; n < order.size(); ++n) {
      number[static_cast<std::size_t>(order[n])] = static_cast<std::int32_t>(n);
      const auto [from, forwarded] = visitors_[static_cast<std::size_t>(order[n])];
      auto& arriving = result_.arriving;
      if (arriving.empty() || arriving.back().peer != from)
        arriving.push_back({from, same_node(from), static_cast<std::int64_t>(n), 0, 0});
      ++(forwarded ? arriving.back().forwarded : arriving.back().direct);
    }
    result_.visitors = static_cast<std::int64_t>(visitors_.size());
    for (NodeExchange::Use& use : result_.uses) use.visitor = number[static_cast<std::size_t>(use.visitor)];
    std::sort(result_.uses.begin(), result_.uses.end(), [](const NodeExchange::Use& a, const NodeExchange::Use& b) {
      return std::tie(a.visitor, a.choice) < std::tie(b.visitor, b.choice);
    });
    for (auto& [peer, rows] : leaving_) result_.leaving.push_back({peer, same_node(peer), std::move(rows)});
    for (auto& [peer, rows] : passing_) {
      for (std::int32_t& row : rows) row = number[static_cast<std::size_t>(row)];
      result_.passing.push_back({peer, same_node(peer), std::move(rows)});
    }
  }

  [[nodiscard]] bool same_node(std::int32_t peer) const { return ways_.node_of(peer) == ways_.node_of(own_); }

  const plan::Plan& plan_;
  plan::NodeWays ways_;
  std::int64_t routed_step_;
  std::int64_t layer_;
  std::int64_t ep_;
  std::int64_t instance_;
  std::int32_t own_;
  std::vector<std::int32_t> local_of_expert_;
  std::vector<std::int32_t> chosen_;
  NodeExchange result_;
  std::vector<Visitor> visitors_;  // in the order of (source, token)
  std::map<std::int32_t, std::vector<std::int32_t>> leaving_;
  std::map<std::int32_t, std::vector<std::int32_t>> passing_;
  std::vector<std::pair<std::int32_t, NodeExchange::Use>> of_source_;  // with the expert's place on this rank
};

}  // namespace

NodeExchange node_exchange(const plan::Plan& plan, RankId rank, std::int64_t routed_step, std::int64_t layer,
                           std::int64_t micro_batch, std::int64_t chunk) {
  FORETOKEN_CHECK(plan::sends_once_per_node(plan), "a token goes to each of its experts by itself");
  const plan::Range sources =
      chunk < 0 ? plan::Range{0, plan.scenario.deployment.ep} : plan.placement.chunk_sources(chunk);
  return Builder(plan, rank, routed_step, layer).build(micro_batch, sources);
}

std::int64_t rows_of(const std::vector<NodeExchange::Lot>& lots) {
  std::int64_t rows = 0;
  for (const NodeExchange::Lot& lot : lots) rows += static_cast<std::int64_t>(lot.rows.size());
  return rows;
}

}  // namespace foretoken::runtime
