#include "sim/network/symmetry.hpp"

#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include "core/numbers.hpp"
#include "sim/network/equitable.hpp"

namespace foretoken::sim {
namespace {

using Colour = std::uint64_t;

// The finaliser of a good hash: every bit of the result depends on every bit of x.
Colour mix(Colour x) {
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185;
  x ^= x >> 27;
  x *= 0x81dadef4bc2dd44d;
  return x ^ (x >> 33);
}

// Of a number with few digits only the upper bits are set.
Colour bits(double value) {
  const auto x = std::bit_cast<Colour>(value);
  return x ^ (x >> 32);
}

Colour mix(Colour x, double value) { return mix(x ^ (bits(value) * 0x9e3779b97f4a7c15)); }

Colour colour_alone(const TimedFlow& flow) {
  return bits(flow.start) * 0x9e3779b97f4a7c15 + bits(flow.demand) * 0xd1342543de82ef95 +
         bits(flow.weight) * 0xaef17502108ef2d9 + bits(flow.ceiling) * 0xf1357aea2e62a9c5;
}

// Numbers colours in the order in which they first appear.
class Numbers {
 public:
  Numbers() : table_(kFirstSize, kNone) {}

  std::int32_t of(Colour colour) {
    std::int32_t& number = place_of(colour);
    return number != kNone ? number : add(colour, number);
  }
  [[nodiscard]] std::int32_t count() const { return static_cast<std::int32_t>(colours_.size()); }

 private:
  static constexpr std::size_t kFirstSize = 64;
  static constexpr std::int32_t kNone = -1;

  std::int32_t add(Colour colour, std::int32_t& place) {
    const std::int32_t number = place = count();
    colours_.push_back(colour);
    if (2 * colours_.size() > table_.size()) grow();
    return number;
  }
  std::int32_t& place_of(Colour colour) {
    const std::size_t mask = table_.size() - 1;
    std::size_t i = colour & mask;
    while (table_[i] != kNone && colours_[at(table_[i])] != colour) i = (i + 1) & mask;
    return table_[i];
  }
  void grow() {
    table_.assign(4 * table_.size(), kNone);
    for (std::int32_t n = 0; n < count(); ++n) place_of(colours_[at(n)]) = n;
  }

  std::vector<std::int32_t> table_;
  std::vector<Colour> colours_;  // [number]
};

class Refinement {
 public:
  explicit Refinement(const FlowSet& set)
      : set_(set), flows_(set.flows.size()), resources_(set.capacity.size()), colours_(set.capacity.size()) {
    for (std::size_t r = 0; r < colours_.size(); ++r) colours_[r] = mix(2, set.capacity[r]);
    number_resources();
  }

  // Returns false if there are more than `most` classes of flows.
  bool refine_flows(std::int32_t most) {
    sums_.assign(colours_.size(), 0);
    Numbers numbers;
    for (std::size_t f = 0; f < set_.flows.size(); ++f) {
      const TimedFlow& flow = set_.flows[f];
      Colour colour = colour_alone(flow);
      const auto path = std::span(set_.uses.data() + flow.uses_begin, at(flow.uses_end - flow.uses_begin));
      for (const ResourceUse& use : path)
        colour += use.amount == 1.0 ? colours_[at(use.resource)] : mix(colours_[at(use.resource)], use.amount);
      colour = mix(colour);
      for (const ResourceUse& use : path)
        sums_[at(use.resource)] += use.amount == 1.0 ? colour : mix(colour, use.amount);
      flows_[f] = numbers.of(colour);
      if (flows_[f] >= most) return false;
    }
    return true;
  }

  // Returns whether there are more classes of resources than before.
  bool refine_resources() {
    for (std::size_t r = 0; r < colours_.size(); ++r) colours_[r] = mix(3 * colours_[r] + sums_[r]);
    const std::int32_t before = resource_classes_;
    number_resources();
    return resource_classes_ > before;
  }

  FlowPartition partition() && { return {Classes(std::move(flows_)), Classes(std::move(resources_))}; }

 private:
  void number_resources() {
    Numbers numbers;
    for (std::size_t r = 0; r < colours_.size(); ++r) resources_[r] = numbers.of(colours_[r]);
    resource_classes_ = numbers.count();
  }

  const FlowSet& set_;
  std::vector<std::int32_t> flows_;      // [flow], numbers of their colours
  std::vector<std::int32_t> resources_;  // [resource], numbers of their colours
  std::vector<Colour> colours_;          // [resource]
  std::vector<Colour> sums_;             // [resource], of the colours of those who use it
  std::int32_t resource_classes_ = 0;
};

// A class of n flows, each of which uses the resources of a class of m by `amount` each k times, uses each of the m
// n k / m times.
FlowSet quotient_of(const FlowSet& set, const FlowPartition& partition) {
  FlowSet quotient;
  for (const Classes::Class& resources : partition.resources.classes)
    quotient.capacity.push_back(set.capacity[at(resources.first)]);
  quotient.flows.reserve(partition.flows.classes.size());
  std::vector<ResourceUse> uses;
  for (const Classes::Class& flows : partition.flows.classes) {
    TimedFlow flow = set.flows[at(flows.first)];
    uses.clear();
    for (std::int32_t u = flow.uses_begin; u < flow.uses_end; ++u) {
      const ResourceUse& use = set.uses[at(u)];
      uses.push_back({partition.resources.number[at(use.resource)], use.amount});
    }
    std::sort(uses.begin(), uses.end(), [](const ResourceUse& a, const ResourceUse& b) {
      return std::pair(a.resource, a.amount) < std::pair(b.resource, b.amount);
    });
    flow.uses_begin = static_cast<std::int32_t>(quotient.uses.size());
    for (std::size_t u = 0; u < uses.size();) {
      const auto [resource, one] = uses[u];
      std::int32_t times = 0;
      const std::size_t first = u;
      for (; u < uses.size() && uses[u].resource == resource && uses[u].amount == one; ++u) ++times;
      const double of_each = static_cast<double>(flows.size) * times / partition.resources.classes[at(resource)].size;
      if (first > 0 && uses[first - 1].resource == resource) quotient.uses.back().amount += of_each * one;
      else quotient.uses.push_back({resource, of_each * one});
    }
    flow.uses_end = static_cast<std::int32_t>(quotient.uses.size());
    quotient.flows.push_back(flow);
  }
  return quotient;
}

}  // namespace

Classes::Classes(std::vector<std::int32_t> numbers) : number(std::move(numbers)) {
  std::int32_t count = 0;
  for (std::size_t i = 0; i < number.size(); ++i) {
    if (number[i] == count) {
      classes.push_back({static_cast<std::int32_t>(i), 0});
      ++count;
    }
    ++classes[at(number[i])].size;
  }
}

std::optional<FlowClasses> find_classes(const FlowSet& set) {
  const auto most = static_cast<std::int32_t>(set.flows.size() / 2);
  Refinement refinement(set);
  do {
    if (!refinement.refine_flows(most)) return std::nullopt;
  } while (refinement.refine_resources());
  FlowPartition partition = std::move(refinement).partition();
  if (!is_equitable(set, partition)) return std::nullopt;
  FlowSet quotient = quotient_of(set, partition);
  return FlowClasses{std::move(partition.flows.number), std::move(quotient)};
}

}  // namespace foretoken::sim
