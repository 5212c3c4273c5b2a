#include "sim/network/equitable.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace foretoken::sim {
namespace {

using Path = std::span<const ResourceUse>;

std::size_t at(std::int32_t index) { return static_cast<std::size_t>(index); }

Path path_of(const FlowSet& set, const TimedFlow& flow) {
  return Path(set.uses).subspan(at(flow.uses_begin), at(flow.uses_end - flow.uses_begin));
}

// Every resource of a class has a row of counters, one for each class of flows that use it and amount by which they do.
class Check {
 public:
  Check(const FlowSet& set, const FlowPartition& partition) : set_(set), partition_(partition) {}

  bool operator()() { return lay_out() && count() && rows_are_equal(); }

 private:
  // Where the first flow of each class, and so all of them, count in the rows of the resources they use.
  bool lay_out() {
    std::vector<std::int32_t> length(partition_.resources.classes.size(), 0);
    std::int64_t uses = 0;
    for (const Classes::Class& flows : partition_.flows.classes) {
      const Path path = path_of(set_, set_.flows[at(flows.first)]);
      uses += static_cast<std::int64_t>(path.size()) * flows.size;
      const std::size_t begin = column_.size();
      columns_begin_.push_back(begin);
      for (std::size_t u = 0; u < path.size(); ++u) {
        const std::size_t like = static_cast<std::size_t>(
            std::find_if(path.begin(), path.end(), [&](const ResourceUse& use) { return alike(use, path[u]); }) -
            path.begin());
        column_.push_back(like < u ? column_[begin + like] : length[class_of(path[u])]++);
      }
    }
    std::int64_t counters = 0;
    row_.reserve(set_.capacity.size() + 1);
    for (const std::int32_t number : partition_.resources.number) {
      row_.push_back(static_cast<std::size_t>(counters));
      counters += length[at(number)];
      if (counters > uses) return false;  // so one of them would be left zero
    }
    row_.push_back(static_cast<std::size_t>(counters));
    count_.resize(row_.back());
    return true;
  }

  // Returns false if a flow is not like the first of its class.
  bool count() {
    for (std::size_t f = 0; f < set_.flows.size(); ++f) {
      const std::size_t number = at(partition_.flows.number[f]);
      const TimedFlow& flow = set_.flows[f];
      const TimedFlow& first = set_.flows[at(partition_.flows.classes[number].first)];
      if (flow.start != first.start || flow.demand != first.demand || flow.weight != first.weight ||
          flow.ceiling != first.ceiling)
        return false;
      const Path path = path_of(set_, flow);
      const Path expected = path_of(set_, first);
      if (path.size() != expected.size()) return false;
      const std::int32_t* columns = column_.data() + columns_begin_[number];
      if (std::equal(path.begin(), path.end(), expected.begin(),
                     [&](const auto& a, const auto& b) { return alike(a, b); })) {
        for (std::size_t u = 0; u < path.size(); ++u) ++count_[row_[at(path[u].resource)] + at(columns[u])];
      } else {
        if (sorted(path) != sorted(expected)) return false;
        for (const ResourceUse& use : path) {
          std::size_t like = 0;
          while (!alike(expected[like], use)) ++like;
          ++count_[row_[at(use.resource)] + at(columns[like])];
        }
      }
    }
    return true;
  }

  bool rows_are_equal() const {
    for (std::size_t r = 0; r < set_.capacity.size(); ++r) {
      const std::size_t first = at(partition_.resources.classes[at(partition_.resources.number[r])].first);
      const auto row = std::span(count_).subspan(row_[r], row_[r + 1] - row_[r]);
      if (set_.capacity[r] != set_.capacity[first] ||
          !std::equal(row.begin(), row.end(), count_.begin() + static_cast<std::ptrdiff_t>(row_[first])))
        return false;
    }
    return true;
  }

  std::size_t class_of(const ResourceUse& use) const { return at(partition_.resources.number[at(use.resource)]); }
  bool alike(const ResourceUse& a, const ResourceUse& b) const {
    return a.amount == b.amount && class_of(a) == class_of(b);
  }
  std::vector<std::pair<std::size_t, double>> sorted(Path path) const {
    std::vector<std::pair<std::size_t, double>> uses;
    for (const ResourceUse& use : path) uses.emplace_back(class_of(use), use.amount);
    std::sort(uses.begin(), uses.end());
    return uses;
  }

  const FlowSet& set_;
  const FlowPartition& partition_;
  std::vector<std::size_t> columns_begin_;  // [class of flows]: of its part of column_
  std::vector<std::int32_t> column_;
  std::vector<std::size_t> row_;  // [resource]: where its row begins
  std::vector<std::int32_t> count_;
};

}  // namespace

bool is_equitable(const FlowSet& set, const FlowPartition& partition) { return Check(set, partition)(); }

}  // namespace foretoken::sim
