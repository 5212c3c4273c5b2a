#include "sim/network/symmetry.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace foretoken::sim {
namespace {

using Colour = std::uint64_t;

std::size_t at(std::int32_t index) { return static_cast<std::size_t>(index); }

// The finaliser of a good hash: every bit of the result depends on every bit of x.
Colour mix(Colour x) {
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185;
  x ^= x >> 27;
  x *= 0x81dadef4bc2dd44d;
  return x ^ (x >> 33);
}

Colour mix(Colour x, double value) { return mix(x ^ (std::bit_cast<Colour>(value) * 0x9e3779b97f4a7c15)); }

// Numbers colours in the order in which they first appear.
class Numbers {
 public:
  Numbers() : table_(1024) {}

  std::int32_t of(Colour colour) {
    Entry& entry = place_of(colour);
    if (entry.number >= 0) return entry.number;
    entry = {colour, count_++};
    if (2 * at(count_) > table_.size()) grow();
    return count_ - 1;
  }
  [[nodiscard]] std::int32_t count() const { return count_; }

 private:
  struct Entry {
    Colour colour = 0;
    std::int32_t number = -1;
  };

  Entry& place_of(Colour colour) {
    const std::size_t mask = table_.size() - 1;
    std::size_t i = colour & mask;
    while (table_[i].number >= 0 && table_[i].colour != colour) i = (i + 1) & mask;
    return table_[i];
  }
  void grow() {
    std::vector<Entry> old(2 * table_.size());
    old.swap(table_);
    for (const Entry& entry : old)
      if (entry.number >= 0) place_of(entry.colour) = entry;
  }

  std::vector<Entry> table_;
  std::int32_t count_ = 0;
};

class Refinement {
 public:
  explicit Refinement(const FlowSet& set) : set_(set), own_(set.flows.size()), resources_(set.capacity.size()) {
    for (std::size_t f = 0; f < own_.size(); ++f) {
      const TimedFlow& flow = set.flows[f];
      own_[f] = mix(mix(mix(mix(1, flow.start), flow.demand), flow.weight), flow.ceiling);
    }
    flows_ = own_;
    for (std::size_t r = 0; r < resources_.size(); ++r) resources_[r] = mix(2, set.capacity[r]);
  }

  void refine() {
    sums_.assign(resources_.size(), 0);
    for (std::size_t f = 0; f < flows_.size(); ++f) {
      const TimedFlow& flow = set_.flows[f];
      const Colour colour = flows_[f] * 0x9e3779b97f4a7c15;
      for (std::int32_t u = flow.uses_begin; u < flow.uses_end; ++u) {
        const ResourceUse& use = set_.uses[at(u)];
        sums_[at(use.resource)] += use.amount == 1.0 ? mix(colour) : mix(colour, use.amount);
      }
    }
    for (std::size_t r = 0; r < resources_.size(); ++r) resources_[r] = mix(resources_[r] + 3 * sums_[r]);
    for (std::size_t f = 0; f < flows_.size(); ++f) {
      const TimedFlow& flow = set_.flows[f];
      Colour sum = 0;
      for (std::int32_t u = flow.uses_begin; u < flow.uses_end; ++u) {
        const ResourceUse& use = set_.uses[at(u)];
        sum += use.amount == 1.0 ? resources_[at(use.resource)] : mix(resources_[at(use.resource)], use.amount);
      }
      flows_[f] = mix(own_[f] + 5 * sum);
    }
  }

  // Numbers of the flows' classes, until there are more than `most`.
  std::int32_t number_flows(std::vector<std::int32_t>& number, std::int32_t most) const {
    Numbers numbers;
    for (std::size_t f = 0; f < flows_.size(); ++f) {
      number[f] = numbers.of(flows_[f]);
      if (numbers.count() > most) break;
    }
    return numbers.count();
  }
  [[nodiscard]] const std::vector<Colour>& resources() const { return resources_; }

 private:
  const FlowSet& set_;
  std::vector<Colour> own_;    // [flow], of what it is by itself
  std::vector<Colour> flows_;  // [flow]
  std::vector<Colour> resources_;
  std::vector<Colour> sums_;
};

FlowSet quotient_of(const FlowSet& set, const std::vector<std::int32_t>& class_of_flow, std::int32_t classes,
                    const std::vector<Colour>& colours) {
  FlowSet quotient;
  Numbers numbers;
  std::vector<std::int32_t> class_shown(colours.size(), -1);  // [resource]: its class, of the first one of each
  for (std::size_t r = 0; r < colours.size(); ++r) {
    const std::int32_t number = numbers.of(colours[r]);
    if (at(number) < quotient.capacity.size()) continue;
    quotient.capacity.push_back(set.capacity[r]);
    class_shown[r] = number;
  }

  std::vector<std::pair<std::int64_t, double>> uses;  // class of flows << 32 | class of resources, amount
  std::vector<char> seen(at(classes), 0);
  quotient.flows.resize(at(classes));
  for (std::size_t f = 0; f < set.flows.size(); ++f) {
    const TimedFlow& flow = set.flows[f];
    const std::int32_t number = class_of_flow[f];
    if (seen[at(number)] == 0) quotient.flows[at(number)] = flow;
    seen[at(number)] = 1;
    for (std::int32_t u = flow.uses_begin; u < flow.uses_end; ++u) {
      const ResourceUse& use = set.uses[at(u)];
      const std::int32_t shown = class_shown[at(use.resource)];
      if (shown >= 0) uses.emplace_back((std::int64_t{number} << 32) | shown, use.amount);
    }
  }
  std::stable_sort(uses.begin(), uses.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::size_t next = 0;
  for (std::int32_t c = 0; c < classes; ++c) {
    TimedFlow& flow = quotient.flows[at(c)];
    flow.uses_begin = static_cast<std::int32_t>(quotient.uses.size());
    for (; next < uses.size() && uses[next].first >> 32 == c; ++next) {
      const auto resource = static_cast<std::int32_t>(uses[next].first & 0xffffffff);
      if (static_cast<std::int32_t>(quotient.uses.size()) > flow.uses_begin &&
          quotient.uses.back().resource == resource)
        quotient.uses.back().amount += uses[next].second;
      else quotient.uses.push_back({resource, uses[next].second});
    }
    flow.uses_end = static_cast<std::int32_t>(quotient.uses.size());
  }
  return quotient;
}

}  // namespace

std::optional<FlowClasses> find_classes(const FlowSet& set) {
  const auto most = static_cast<std::int32_t>(set.flows.size() / 2);
  FlowClasses classes;
  classes.of_flow.resize(set.flows.size());
  Refinement refinement(set);
  std::int32_t count = 0;
  for (;;) {
    const std::int32_t refined = refinement.number_flows(classes.of_flow, most);
    if (refined > most) return std::nullopt;
    if (refined == count) break;
    count = refined;
    refinement.refine();
  }
  classes.quotient = quotient_of(set, classes.of_flow, count, refinement.resources());
  return classes;
}

}  // namespace foretoken::sim
