#include "runtime/cuda/node_tables.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/error.hpp"
#include "plan/program/node_rows.hpp"

namespace foretoken::runtime::cuda {
namespace {

using Integers = std::vector<std::int32_t>;

// What tables_of() appends, where rows have been exchanged already to learn how many there are.
std::int64_t numbers_of(const NodeExchange& exchange, std::int32_t own, std::int64_t tokens) {
  const std::int64_t leaving = rows_of(exchange.leaving);
  const std::int64_t passing = rows_of(exchange.passing);
  const auto rows = std::ssize(exchange.uses);
  std::vector<bool> used(static_cast<std::size_t>(exchange.visitors), false);
  for (const NodeExchange::Use& use : exchange.uses) used[static_cast<std::size_t>(use.visitor)] = true;
  std::int64_t visits = 0;  // by other ranks' tokens: each has a sum, which may begin with its experts here
  std::int64_t begun = 0;
  for (const NodeExchange::Arrival& arrival : exchange.arriving) {
    if (arrival.peer == own) continue;
    visits += arrival.direct + arrival.forwarded;
    for (std::int64_t i = arrival.first; i < arrival.first + arrival.direct + arrival.forwarded; ++i)
      begun += used[static_cast<std::size_t>(i)] ? 1 : 0;
  }
  const std::int64_t on_the_way = leaving + passing + 3 * rows + exchange.visitors + 1;
  // Of each of the three sums: targets, first terms and one number more, terms.
  const std::int64_t before_and_between = 2 * visits + 2 + begun + passing;
  const std::int64_t after = 2 * tokens + 1 + leaving;
  return on_the_way + before_and_between + after;
}

std::int64_t tokens_of(const plan::Plan& plan, RankId rank, const plan::Op& op) {
  return plan.placement.slice(plan.placement.replica_of(rank), op.micro_batch, plan.placement.tp_index_of(rank)).size();
}

void append_to(Integers& all, const Integers& more) { all.insert(all.end(), more.begin(), more.end()); }

}  // namespace

NodeTables::NodeTables(const plan::Plan& plan, RankId rank) {
  if (!plan::sends_once_per_node(plan)) return;
  FORETOKEN_CHECK(plan.routing.known(), "tokens go once per node, and who goes where is not known");
  const auto own = static_cast<std::int32_t>(plan.placement.ep_index_of(rank));
  for (const plan::Op& op : plan.program.role_of(rank).ops) {
    if (op.kind != plan::OpKind::dispatch) continue;
    FORETOKEN_CHECK(op.chunk < 0, "rows of chunks are not told to a device");
    const std::int64_t tokens = tokens_of(plan, rank, op);
    for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step)
      of_.emplace(std::tuple(step, op.layer, op.micro_batch),
                  tables_of(node_exchange(plan, rank, step, op.layer, op.micro_batch, op.chunk), own, tokens));
  }
}

NodeTables::Of NodeTables::tables_of(const NodeExchange& exchange, std::int32_t own, std::int64_t tokens) {
  Of of;
  of.visitors = exchange.visitors;

  // ---- there: rows as they leave, are passed on and are used
  Integers leaving;
  Integers to_itself;
  for (const NodeExchange::Lot& lot : exchange.leaving) append_to(lot.peer == own ? to_itself : leaving, lot.rows);
  Integers passing;
  for (const NodeExchange::Lot& lot : exchange.passing) append_to(passing, lot.rows);
  Integers visitor_of_row(exchange.uses.size());
  Integers choice_of_row(exchange.uses.size());
  Integers first_uses(static_cast<std::size_t>(exchange.visitors) + 1, 0);
  Integers uses;
  for (const NodeExchange::Use& use : exchange.uses) {
    visitor_of_row[static_cast<std::size_t>(use.row)] = use.visitor;
    choice_of_row[static_cast<std::size_t>(use.row)] = use.choice;
    uses.push_back(use.row);
    ++first_uses[static_cast<std::size_t>(use.visitor) + 1];
  }
  for (std::size_t v = 1; v < first_uses.size(); ++v) first_uses[v] += first_uses[v - 1];

  // ---- and back: a visitor's sum begins with its experts here
  Terms before;
  Terms between;
  Integers place_between(static_cast<std::size_t>(exchange.visitors), -1);  // of visitors from other nodes
  for (const NodeExchange::Arrival& arrival : exchange.arriving) {
    if (arrival.peer == own) continue;
    Terms& sums = arrival.same_node ? before : between;
    for (std::int64_t i = arrival.first; i < arrival.first + arrival.direct + arrival.forwarded; ++i) {
      const auto v = static_cast<std::size_t>(i);
      if (!arrival.same_node) place_between[v] = static_cast<std::int32_t>(sums.targets.size());
      sums.targets.push_back(static_cast<std::int32_t>(i));
      sums.of_target.emplace_back();
      if (first_uses[v] < first_uses[v + 1]) sums.of_target.back().push_back(~static_cast<std::int32_t>(i));
    }
  }
  // What comes back from a peer: its rows in leaving, then those in passing.
  Terms after;
  for (std::int32_t token = 0; token < tokens; ++token) after.targets.push_back(token);
  after.of_target.resize(static_cast<std::size_t>(tokens));
  std::map<std::int32_t, std::pair<const NodeExchange::Lot*, const NodeExchange::Lot*>> lots;
  for (const NodeExchange::Lot& lot : exchange.leaving) lots[lot.peer].first = &lot;
  for (const NodeExchange::Lot& lot : exchange.passing) lots[lot.peer].second = &lot;
  std::int32_t back = 0;
  for (const auto& [peer, lot] : lots) {
    const auto [left, passed] = lot;
    std::int32_t own_visitor = static_cast<std::int32_t>(exchange.visitors - std::ssize(to_itself));
    if (left != nullptr)
      for (const std::int32_t token : left->rows)
        after.of_target[static_cast<std::size_t>(token)].push_back(peer == own ? ~own_visitor++ : back++);
    if (passed == nullptr) continue;
    for (const std::int32_t visitor : passed->rows) {
      const std::int32_t place = place_between[static_cast<std::size_t>(visitor)];
      FORETOKEN_CHECK(place >= 0, "a row is passed on that has not come from another node");
      between.of_target[static_cast<std::size_t>(place)].push_back(back++);
    }
  }

  of.leaving = append(leaving);
  of.own = append(to_itself);
  of.passing = append(passing);
  of.visitor_of_row = append(visitor_of_row);
  of.choice_of_row = append(choice_of_row).offset;
  of.first_uses = append(first_uses).offset;
  of.uses = append(uses).offset;
  of.before = append(before);
  of.between = append(between);
  of.after = append(after);
  return of;
}

NodeTables::Table NodeTables::append(std::span<const std::int32_t> numbers) {
  const Table table{all_.size(), std::ssize(numbers)};
  all_.insert(all_.end(), numbers.begin(), numbers.end());
  return table;
}

NodeTables::Sums NodeTables::append(const Terms& terms) {
  Integers first{0};
  Integers all;
  for (const Integers& of_one : terms.of_target) {
    append_to(all, of_one);
    first.push_back(static_cast<std::int32_t>(all.size()));
  }
  return {append(terms.targets), append(first).offset, append(all).offset};
}

const NodeTables::Of& NodeTables::at(std::int64_t routed_step, const plan::Op& op) const {
  const auto found = of_.find({routed_step, op.layer, op.micro_batch});
  FORETOKEN_CHECK(found != of_.end(), op.name + " is of a layer whose tokens go nowhere");
  return found->second;
}

NodeSums NodeTables::sums(const Of& of, const Sums& which, const std::int32_t* all) {
  return {which.targets.count, all + which.targets.offset, all + which.first_terms,
          all + which.terms,   all + of.first_uses,        all + of.uses};
}

NodeStaging node_staging_max(const plan::Plan& plan, RankId rank, const plan::Op& op) {
  NodeStaging most;
  const bool returns = op.kind == plan::OpKind::combine;
  if (!plan::sends_once_per_node(plan) || (!returns && op.kind != plan::OpKind::dispatch)) return most;
  const auto own = static_cast<std::int32_t>(plan.placement.ep_index_of(rank));
  for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step) {
    const NodeExchange exchange = node_exchange(plan, rank, step, op.layer, op.micro_batch, op.chunk);
    std::int64_t others = rows_of(exchange.passing);
    for (const NodeExchange::Lot& lot : exchange.leaving) others += lot.peer == own ? 0 : std::ssize(lot.rows);
    most.leaving = std::max(most.leaving, returns ? exchange.visitors : others);
    if (!returns) most.numbers += numbers_of(exchange, own, tokens_of(plan, rank, op));
    most.coming = std::max(most.coming, returns ? others : exchange.visitors);
  }
  return most;
}

NodeRounds node_rounds(const NcclOperation& operation) {
  const std::span<const NcclCall> all(operation.calls);
  const auto end = std::find_if(all.begin(), all.end(),
                                [](const NcclCall& call) { return call.function == NcclFunction::group_end; });
  const auto first = static_cast<std::size_t>(std::distance(all.begin(), end)) + (end == all.end() ? 0 : 1);
  FORETOKEN_CHECK(all.empty() || first < all.size(), "a token goes once per node in two groups of messages");
  return {all.first(first), all.subspan(first)};
}

}  // namespace foretoken::runtime::cuda
