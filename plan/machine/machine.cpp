// Questions to a machine that has been built. Building it is in build_machine.cpp.
#include "plan/machine/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "plan/machine/machine_impl.hpp"

namespace foretoken::plan {

const std::string& Machine::name() const { return impl_->name; }
const DeviceSpec& Machine::device() const { return impl_->device; }
std::int64_t Machine::gpus() const { return impl_->gpus; }
std::int64_t Machine::nodes() const { return impl_->nodes; }
std::int64_t Machine::cores_per_node() const { return impl_->cores_per_node; }
bool Machine::nvls() const { return impl_->nvls; }
std::span<const Link> Machine::links() const { return impl_->links; }

std::int32_t Machine::node_of(RankId gpu) const {
  FORETOKEN_CHECK(gpu.valid() && gpu.value() < impl_->gpus, "a GPU outside the machine was asked for");
  return static_cast<std::int32_t>(gpu.value() / impl_->gpus_per_node);
}

std::string Machine::vertex_name(VertexId vertex) const {
  FORETOKEN_CHECK(vertex.valid() && vertex.index() < impl_->vertices(), "a vertex outside the machine was asked for");
  const std::int64_t id = vertex.value();
  const std::int64_t gpus = impl_->gpus;
  const std::int64_t per_node = impl_->gpus_per_node;
  if (id < gpus) return fmt::format("node{}.gpu{}", id / per_node, id % per_node);
  if (id < 2 * gpus) return fmt::format("node{}.nic{}", (id - gpus) / per_node, (id - gpus) % per_node);
  if (vertex != impl_->fabric_vertex()) return fmt::format("node{}.nvswitch", id - 2 * gpus);
  return "fabric";
}

std::span<const LinkId> Machine::route(RankId from, RankId to) const {
  const std::int64_t gpus = impl_->gpus;
  FORETOKEN_CHECK(from.valid() && to.valid() && from.value() < gpus && to.value() < gpus,
                  "a route between GPUs outside the machine was asked for");
  if (from == to) return {};
  const std::uint64_t pair = static_cast<std::uint64_t>(from.value()) * static_cast<std::uint64_t>(gpus) +
                             static_cast<std::uint64_t>(to.value());
  const std::lock_guard lock(impl_->mutex);
  auto entry = impl_->routes.find(pair);
  if (entry == impl_->routes.end())
    entry = impl_->routes.emplace(pair, impl_->find_route(from.value(), to.value())).first;
  return std::span(entry->second.links).first(entry->second.size);
}

Machine::Impl::Route Machine::Impl::find_route(std::int64_t from, std::int64_t to) const {
  const Route over_fabric = over_hub(from_fabric, from, to);
  if (from / gpus_per_node != to / gpus_per_node) return over_fabric;
  const Route over_switch = over_hub(from_switch, from, to);
  // Inside a node the NVSwitch is taken when both are as short.
  return over_switch.size <= over_fabric.size ? over_switch : over_fabric;
}

// Links of the tree lead away from the hub, so the way up is made of their opposites.
Machine::Impl::Route Machine::Impl::over_hub(const std::vector<LinkId>& parents, std::int64_t from,
                                             std::int64_t to) const {
  Route route;
  const auto append = [&](LinkId link) {
    FORETOKEN_CHECK(route.size < kRouteLinksMax, "a route is longer than this kind of machine allows");
    route.links[route.size++] = link;
  };
  for (LinkId link = parents[gpu_vertex(from).index()]; link.valid(); link = parents[links[link.index()].from.index()])
    append(opposite(link));
  const std::size_t at_hub = route.size;
  for (LinkId link = parents[gpu_vertex(to).index()]; link.valid(); link = parents[links[link.index()].from.index()])
    append(link);
  std::reverse(route.links.begin() + static_cast<std::ptrdiff_t>(at_hub),
               route.links.begin() + static_cast<std::ptrdiff_t>(route.size));
  return route;
}

}  // namespace foretoken::plan
