// What is behind Machine. Private to plan/machine: build_machine.cpp fills it, machine.cpp reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "plan/machine/machine.hpp"
#include "plan/machine/router.hpp"
#include "plan/machine/wiring.hpp"

namespace foretoken::plan {

/// Route by route as they are asked for: nothing is stored for pairs that nobody asks for.
class RouteCache {
 public:
  using Route = std::span<const LinkId>;

  /// Null if it is not known. What it points to stays where it is.
  [[nodiscard]] const Route* find(std::uint64_t pair) const {
    const auto entry = routes_.find(pair);
    return entry == routes_.end() ? nullptr : &entry->second;
  }
  Route add_copy(std::uint64_t pair, Route route);
  /// Of a route that is stored elsewhere and outlives this.
  Route add_reference(std::uint64_t pair, Route route) { return routes_.emplace(pair, route).first->second; }

 private:
  std::unordered_map<std::uint64_t, Route> routes_;
  std::vector<std::unique_ptr<LinkId[]>> blocks_;
  std::size_t left_ = 0;  // of the last block
  LinkId* next_ = nullptr;
};

struct Machine::Impl {
  std::string name;
  DeviceSpec device;
  std::int64_t cores_per_node = 0;  // of a host
  bool emulated = false;
  std::vector<double> core_shares;  // [node] of an emulated host; empty: all of its cores
  bool nvls = false;
  std::shared_ptr<const Wiring> wiring;
  std::shared_ptr<const RoutingGraphs> graphs;
  std::vector<char> dead;              // [link]; empty: none
  std::shared_ptr<const Impl> before;  // the machine before the last links died; its routes hold where they avoid them

  // Guards what follows.
  mutable std::mutex mutex;
  mutable std::unique_ptr<Router> router;
  mutable RouteCache routes;

  [[nodiscard]] std::span<const LinkId> route(std::int64_t from, std::int64_t to) const;
  [[nodiscard]] bool is_dead(LinkId link) const { return !dead.empty() && dead[link.index()] != 0; }
};

}  // namespace foretoken::plan
