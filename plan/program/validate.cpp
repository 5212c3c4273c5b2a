#include "plan/program/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_set>

#include "core/error.hpp"

namespace foretoken::plan {
namespace {

void check(bool holds, const Role& role, const Op& op, std::string_view what) {
  if (!holds) throw Error(ErrorCode::internal, fmt::format("invalid program: {} {}: {}", role.name, op.name, what));
}

void check_tensors(const Role& role) {
  std::vector<bool> written(role.tensors.size(), false);
  std::unordered_set<std::string_view> names;
  for (std::size_t i = 0; i < role.ops.size(); ++i) {
    const Op& op = role.ops[i];
    check(names.insert(op.name).second, role, op, "another op has this name");
    check(op.stream.index >= 0, role, op, "its stream is out of range");
    const auto* rowwise = std::get_if<RowwiseOp>(&op.detail);
    check((op.kind == OpKind::permute) == (rowwise != nullptr && rowwise->order != RowOrder::none), role, op,
          "a permute, and nothing else, says which rows it takes");
    for (const Dependency& dependency : op.dependencies) {
      const bool known = dependency.op.valid() && dependency.op.index() < role.ops.size();
      check(known && (dependency.distance == 1 || (dependency.distance == 0 && dependency.op.index() < i)), role, op,
            "a dependency does not name an earlier op");
    }
    for (const TensorId input : op.inputs) {
      check(input.valid() && input.index() < role.tensors.size(), role, op, "an input is out of range");
      const Tensor& tensor = role.tensors[input.index()];
      check(tensor.kind == TensorKind::weight || written[input.index()], role, op,
            fmt::format("{} is read before it is written", tensor.name));
    }
    for (const TensorId output : op.outputs) {
      check(output.valid() && output.index() < role.tensors.size(), role, op, "an output is out of range");
      const Tensor& tensor = role.tensors[output.index()];
      check(tensor.kind != TensorKind::weight && !written[output.index()], role, op,
            fmt::format("{} is written twice or is a weight", tensor.name));
      written[output.index()] = true;
    }
  }
}

struct CommunicationOf {
  CommunicationId operator()(const CollectiveOpDetail& o) const { return o.communication; }
  CommunicationId operator()(const ExchangeOp& o) const { return o.communication; }
  CommunicationId operator()(const TransferOp& o) const { return o.communication; }
  template <class Compute>
  CommunicationId operator()(const Compute&) const {
    return {};
  }
};

/// Finds the op by which a role takes part in a communication.
class Participation {
 public:
  explicit Participation(const Program& program) : program_(program), ops_(program.roles.size()) {
    for (std::size_t r = 0; r < program.roles.size(); ++r) {
      const Role& role = program.roles[r];
      for (std::size_t i = 0; i < role.ops.size(); ++i) {
        const CommunicationId id = std::visit(CommunicationOf{}, role.ops[i].detail);
        if (!is_communication(role.ops[i].kind)) {
          check(!id.valid(), role, role.ops[i], "a compute op names a communication");
          continue;
        }
        check(id.valid() && id.index() < program.communications.size(), role, role.ops[i],
              "its communication is out of range");
        // A rank may be both ends of different transfers of one name only as sender and as receiver.
        const bool receives = role.ops[i].kind == OpKind::recv;
        check(ops_[r].emplace(std::pair(id, receives), OpId(i)).second, role, role.ops[i],
              "it takes part in its communication twice");
      }
    }
  }

  [[nodiscard]] const Op* find(std::int32_t role, CommunicationId id, bool receives = false) const {
    const auto& ops = ops_[static_cast<std::size_t>(role)];
    const auto found = ops.find(std::pair(id, receives));
    return found == ops.end() ? nullptr : &program_.roles[static_cast<std::size_t>(role)].ops[found->second.index()];
  }

 private:
  const Program& program_;
  std::vector<std::map<std::pair<CommunicationId, bool>, OpId>> ops_;
};

// Roles of the members of one group instance, in order. Instances that look alike are checked once.
std::set<std::vector<std::int32_t>> instances_of(const Program& program, const GroupFamily& group) {
  std::set<std::vector<std::int32_t>> instances;
  for (std::int32_t r = 0; r < program.ranks; ++r) {
    const RankId rank(r);
    if (group.index_of(rank) != 0) continue;
    std::vector<std::int32_t> roles;
    for (std::int64_t i = 0; i < group.size; ++i) roles.push_back(program.role_of_rank[group.member(rank, i).index()]);
    instances.insert(std::move(roles));
  }
  return instances;
}

void check_collective(const Program& program, const Participation& participation, CommunicationId id,
                      const std::vector<std::int32_t>& members) {
  std::vector<std::int32_t> roles = members;
  std::sort(roles.begin(), roles.end());
  roles.erase(std::unique(roles.begin(), roles.end()), roles.end());
  const Op* first = nullptr;
  std::size_t present = 0;
  for (const std::int32_t role : roles) {
    const Op* op = participation.find(role, id);
    if (op == nullptr) continue;
    ++present;
    const Role& owner = program.roles[static_cast<std::size_t>(role)];
    check(op->kind == program.communications[id.index()].kind, owner, *op, "its kind differs from its communication's");
    if (first != nullptr) {
      const auto& a = std::get<CollectiveOpDetail>(first->detail);
      const auto& b = std::get<CollectiveOpDetail>(op->detail);
      check(a.rows == b.rows && a.cols == b.cols, owner, *op, "members of its group disagree about its size");
    }
    first = op;
  }
  if (present == 0) return;  // a group of another pipeline stage
  if (present != roles.size())
    throw Error(ErrorCode::internal, fmt::format("invalid program: {} is not entered by every member of a group",
                                                 program.communications[id.index()].name));
}

void check_exchange(const Program& program, const Participation& participation, const Placement& placement,
                    CommunicationId id, const std::vector<std::int32_t>& members, std::int64_t stage) {
  const Communication& communication = program.communications[id.index()];
  if (placement.stage_of_layer(communication.layer) != stage) return;
  const Range sources = communication.chunk < 0 ? Range{0, static_cast<std::int64_t>(members.size())}
                                                : placement.chunk_sources(communication.chunk);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(members.size()); ++i) {
    const bool source = i >= sources.begin && i < sources.end;
    const bool host = !placement.experts_on(communication.layer, i).empty();
    const std::int32_t role = members[static_cast<std::size_t>(i)];
    const Op* op = participation.find(role, id);
    const bool agrees = op == nullptr ? !source && !host
                                      : std::get<ExchangeOp>(op->detail).source == source &&
                                            std::get<ExchangeOp>(op->detail).host == host;
    if (!agrees)
      throw Error(ErrorCode::internal,
                  fmt::format("invalid program: {}: role {} is {}a source and {}a host, but takes part otherwise",
                              communication.name, role, source ? "" : "not ", host ? "" : "not "));
  }
}

void check_groups(const Program& program, const Placement& placement, const Participation& participation) {
  for (std::size_t g = 0; g < program.groups.size(); ++g) {
    const auto uses = [&](const Communication& communication) { return communication.group == GroupId(g); };
    if (std::none_of(program.communications.begin(), program.communications.end(), uses)) continue;
    // The stage tells which layers' exchanges concern an instance; the roles tell everything else.
    const auto instances = instances_of(program, program.groups[g]);
    for (std::size_t c = 0; c < program.communications.size(); ++c) {
      const Communication& communication = program.communications[c];
      if (communication.group != GroupId(g)) continue;
      for (const auto& members : instances) {
        if (is_exchange(communication.kind)) {
          const RankId any = program.roles[static_cast<std::size_t>(members.front())].ranks.front();
          check_exchange(program, participation, placement, CommunicationId(c), members, placement.stage_of(any));
        } else {
          check_collective(program, participation, CommunicationId(c), members);
        }
      }
    }
  }
}

void check_transfers(const Program& program, const Participation& participation) {
  std::set<std::tuple<std::int32_t, std::int32_t, std::int64_t>> seen;
  std::map<std::int32_t, std::set<std::int64_t>> offsets;
  for (std::size_t r = 0; r < program.roles.size(); ++r)
    for (const Op& op : program.roles[r].ops)
      if (const auto* transfer = std::get_if<TransferOp>(&op.detail))
        offsets[static_cast<std::int32_t>(r)].insert(transfer->peer_offset);

  for (std::int32_t rank = 0; rank < program.ranks; ++rank) {
    const std::int32_t role_index = program.role_of_rank[static_cast<std::size_t>(rank)];
    const Role& role = program.roles[static_cast<std::size_t>(role_index)];
    for (const std::int64_t offset : offsets[role_index]) {
      const std::int64_t peer = rank + offset;
      const std::int32_t peer_role =
          peer < 0 || peer >= program.ranks ? -1 : program.role_of_rank[static_cast<std::size_t>(peer)];
      if (!seen.insert({role_index, peer_role, offset}).second) continue;
      for (const Op& op : role.ops) {
        const auto* transfer = std::get_if<TransferOp>(&op.detail);
        if (transfer == nullptr || transfer->peer_offset != offset) continue;
        check(peer_role >= 0, role, op, "its peer is no rank");
        const Op* other = participation.find(peer_role, transfer->communication, op.kind == OpKind::send);
        check(other != nullptr, role, op, op.kind == OpKind::send ? "nobody receives it" : "nobody sends it");
        const auto& remote = std::get<TransferOp>(other->detail);
        check(remote.peer_offset == -offset && remote.rows == transfer->rows && remote.cols == transfer->cols, role, op,
              "the two ends disagree about peer or size");
      }
    }
  }
}

// One node per compute op of a role and one per communication: whoever meets there waits for all the others' past.
void check_acyclic(const Program& program) {
  std::vector<std::size_t> first_node(program.roles.size());
  std::size_t nodes = program.communications.size();
  for (std::size_t r = 0; r < program.roles.size(); ++r) {
    first_node[r] = nodes;
    nodes += program.roles[r].ops.size();
  }
  const auto node_of = [&](std::size_t role, std::size_t op) {
    const CommunicationId id = std::visit(CommunicationOf{}, program.roles[role].ops[op].detail);
    return id.valid() ? id.index() : first_node[role] + op;
  };
  std::vector<std::pair<std::size_t, std::size_t>> edges;
  for (std::size_t r = 0; r < program.roles.size(); ++r) {
    std::map<Stream, std::size_t> last;
    for (std::size_t i = 0; i < program.roles[r].ops.size(); ++i) {
      const Op& op = program.roles[r].ops[i];
      const std::size_t node = node_of(r, i);
      if (const auto before = last.find(op.stream); before != last.end()) edges.emplace_back(before->second, node);
      last[op.stream] = node;
      for (const Dependency& dependency : op.dependencies)
        if (dependency.distance == 0) edges.emplace_back(node_of(r, dependency.op.index()), node);
    }
  }
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  std::vector<std::uint32_t> waiting(nodes, 0);
  for (const auto& edge : edges) ++waiting[edge.second];
  std::vector<std::size_t> ready;
  for (std::size_t node = 0; node < nodes; ++node)
    if (waiting[node] == 0) ready.push_back(node);
  std::size_t done = 0;
  while (!ready.empty()) {
    const std::size_t node = ready.back();
    ready.pop_back();
    ++done;
    auto edge = std::lower_bound(edges.begin(), edges.end(), std::pair(node, std::size_t{0}));
    for (; edge != edges.end() && edge->first == node; ++edge)
      if (--waiting[edge->second] == 0) ready.push_back(edge->second);
  }
  if (done == nodes) return;
  for (std::size_t c = 0; c < program.communications.size(); ++c)
    if (waiting[c] > 0)
      throw Error(ErrorCode::internal, fmt::format("invalid program: {} waits for itself: ranks would deadlock",
                                                   program.communications[c].name));
  throw Error(ErrorCode::internal, "invalid program: its dependencies form a cycle");
}

}  // namespace

void validate(const Program& program, const Placement& placement) {
  for (const Role& role : program.roles) check_tensors(role);
  const Participation participation(program);
  check_groups(program, placement, participation);
  check_transfers(program, participation);
  check_acyclic(program);
}

}  // namespace foretoken::plan
