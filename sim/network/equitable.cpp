#include "sim/network/equitable.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "core/numbers.hpp"

namespace foretoken::sim {
namespace {

// To the bit.
bool same(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

// Every resource of a class has a row of counters, one for each class of flows that use it and amount by which they do.
class Check {
 public:
  Check(const FlowSet& set, const FlowPartition& partition) : set_(set), partition_(partition) {}

  bool operator()() { return lay_out() && count() && rows_are_equal(); }

 private:
  struct Resource {
    std::int32_t number = 0;  // of its class
    std::int32_t row = 0;     // where its counters begin
  };
  // One use by a flow of some class, as its first member has it.
  struct Expected {
    std::int32_t number = 0;  // class of the resource
    std::int32_t column = 0;  // in the resource's row
    double amount = 0;
  };
  struct FlowClass {
    TimedFlow first;
    std::int32_t expected_begin = 0;
  };
  struct Sorted {
    std::int32_t number;
    double amount;
    std::size_t position;
    bool operator<(const Sorted& other) const {
      return std::tie(number, amount, position) < std::tie(other.number, other.amount, other.position);
    }
  };

  bool lay_out() {
    resources_.reserve(set_.capacity.size());
    classes_.reserve(partition_.flows.classes.size());
    expected_.reserve(2 * partition_.flows.classes.size());
    for (const std::int32_t number : partition_.resources.number) resources_.push_back({number, 0});
    std::vector<std::int32_t> length(partition_.resources.classes.size(), 0);  // of the rows
    std::int64_t uses = 0;
    for (const Classes::Class& flows : partition_.flows.classes) {
      const TimedFlow& first = set_.flows[at(flows.first)];
      classes_.push_back({first, static_cast<std::int32_t>(expected_.size())});
      uses += std::int64_t{flows.size} * (first.uses_end - first.uses_begin);
      const std::size_t begin = expected_.size();
      const std::vector<Sorted> path = sorted(first);
      expected_.resize(begin + path.size());
      for (std::size_t u = 0; u < path.size(); ++u) {
        const auto& [number, amount, position] = path[u];
        if (u == 0 || number != path[u - 1].number || amount != path[u - 1].amount) ++length[at(number)];
        expected_[begin + position] = {number, length[at(number)] - 1, amount};
      }
    }
    std::int64_t counters = 0;
    for (Resource& resource : resources_) {
      resource.row = static_cast<std::int32_t>(counters);
      counters += length[at(resource.number)];
      if (counters > uses) return false;  // so one of them would be left zero
    }
    count_.resize(static_cast<std::size_t>(counters));
    length_ = std::move(length);
    return true;
  }

  // Returns false if a flow is not like the first of its class.
  bool count() {
    for (std::size_t f = 0; f < set_.flows.size(); ++f) {
      const TimedFlow& flow = set_.flows[f];
      const FlowClass& expected = classes_[at(partition_.flows.number[f])];
      if (!alike_alone(flow, expected.first) || !(count_in_order(flow, expected) || count_sorted(flow, expected)))
        return false;
    }
    return true;
  }

  static bool alike_alone(const TimedFlow& a, const TimedFlow& b) {
    return same(a.start, b.start) && same(a.demand, b.demand) && same(a.weight, b.weight) &&
           same(a.ceiling, b.ceiling) && a.uses_end - a.uses_begin == b.uses_end - b.uses_begin;
  }

  // Returns false, and counts nothing, if its resources are others, or the same in another order.
  bool count_in_order(const TimedFlow& flow, const FlowClass& expected) {
    const Expected* const path = expected_.data() + expected.expected_begin;
    const ResourceUse* const uses = set_.uses.data() + flow.uses_begin;
    const std::int32_t length = flow.uses_end - flow.uses_begin;
    for (std::int32_t u = 0; u < length; ++u)
      if (!same(uses[u].amount, path[u].amount) || resources_[at(uses[u].resource)].number != path[u].number)
        return false;
    for (std::int32_t u = 0; u < length; ++u) ++count_[at(resources_[at(uses[u].resource)].row + path[u].column)];
    return true;
  }

  bool count_sorted(const TimedFlow& flow, const FlowClass& expected) {
    const std::vector<Sorted> path = sorted(flow);
    const std::vector<Sorted> other = sorted(expected.first);
    for (std::size_t u = 0; u < path.size(); ++u) {
      if (path[u].number != other[u].number || path[u].amount != other[u].amount) return false;
      const ResourceUse& use = set_.uses[at(flow.uses_begin) + path[u].position];
      ++count_[at(resources_[at(use.resource)].row +
                  expected_[at(expected.expected_begin) + other[u].position].column)];
    }
    return true;
  }

  std::vector<Sorted> sorted(const TimedFlow& flow) const {
    std::vector<Sorted> path;
    for (std::int32_t u = flow.uses_begin; u < flow.uses_end; ++u) {
      const ResourceUse& use = set_.uses[at(u)];
      path.push_back({resources_[at(use.resource)].number, use.amount, at(u - flow.uses_begin)});
    }
    std::sort(path.begin(), path.end());
    return path;
  }

  bool rows_are_equal() const {
    for (std::size_t r = 0; r < resources_.size(); ++r) {
      const std::size_t first = at(partition_.resources.classes[at(resources_[r].number)].first);
      const std::int32_t* const row = count_.data() + resources_[r].row;
      if (set_.capacity[r] != set_.capacity[first] ||
          !std::equal(row, row + length_[at(resources_[r].number)], count_.data() + resources_[first].row))
        return false;
    }
    return true;
  }

  const FlowSet& set_;
  const FlowPartition& partition_;
  std::vector<Resource> resources_;
  std::vector<FlowClass> classes_;
  std::vector<Expected> expected_;
  std::vector<std::int32_t> length_;  // [class of resources], of the rows
  std::vector<std::int32_t> count_;
};

}  // namespace

bool is_equitable(const FlowSet& set, const FlowPartition& partition) { return Check(set, partition)(); }

}  // namespace foretoken::sim
