// Questions to a machine that has been built. Building it is in build_machine.cpp, finding routes in router.cpp.
#include "plan/machine/machine.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "plan/machine/machine_impl.hpp"

namespace foretoken::plan {

const std::string& Machine::name() const { return impl_->name; }
const DeviceSpec& Machine::device() const { return impl_->device; }
std::int64_t Machine::gpus() const { return impl_->wiring->gpus(); }
std::int64_t Machine::nodes() const { return impl_->wiring->nodes; }
std::int64_t Machine::nics_per_node() const { return impl_->wiring->nics_per_node; }
std::int64_t Machine::cores_per_node() const { return impl_->cores_per_node; }
std::int64_t Machine::computers() const { return impl_->emulated ? 1 : nodes(); }
bool Machine::has_core_shares() const { return !impl_->core_shares.empty(); }
double Machine::core_share(std::int64_t node) const {
  FORETOKEN_CHECK(node >= 0 && node < nodes(), "a node outside the machine was asked for");
  return has_core_shares() ? impl_->core_shares[static_cast<std::size_t>(node)] : static_cast<double>(cores_per_node());
}
bool Machine::nvls() const { return impl_->nvls; }
std::span<const Link> Machine::links() const { return impl_->wiring->links; }
std::size_t Machine::vertices() const { return static_cast<std::size_t>(impl_->wiring->vertices()); }
bool Machine::is_dead(LinkId link) const { return impl_->is_dead(link); }

std::int32_t Machine::node_of(RankId gpu) const {
  FORETOKEN_CHECK(gpu.valid() && gpu.value() < gpus(), "a GPU outside the machine was asked for");
  return static_cast<std::int32_t>(gpu.value() / impl_->wiring->gpus_per_node);
}

VertexKind Machine::kind_of(VertexId vertex) const {
  FORETOKEN_CHECK(vertex.valid() && vertex.index() < vertices(), "a vertex outside the machine was asked for");
  return impl_->wiring->kind_of(vertex);
}

std::string Machine::vertex_name(VertexId vertex) const {
  FORETOKEN_CHECK(vertex.valid() && vertex.index() < vertices(), "a vertex outside the machine was asked for");
  return impl_->wiring->name_of(vertex);
}

VertexId Machine::find_vertex(const std::string& name) const { return impl_->wiring->find(name); }

std::span<const LinkId> Machine::route(RankId from, RankId to) const {
  FORETOKEN_CHECK(from.valid() && to.valid() && from.value() < gpus() && to.value() < gpus(),
                  "a route between GPUs outside the machine was asked for");
  if (from == to) return {};
  return impl_->route(from.value(), to.value());
}

std::span<const LinkId> Machine::Impl::route(std::int64_t from, std::int64_t to) const {
  const std::uint64_t pair =
      static_cast<std::uint64_t>(from) * static_cast<std::uint64_t>(wiring->gpus()) + static_cast<std::uint64_t>(to);
  const std::lock_guard lock(mutex);
  if (const RouteCache::Route* known = routes.find(pair)) return *known;
  if (before) {
    const std::span<const LinkId> old = before->route(from, to);
    if (std::none_of(old.begin(), old.end(), [&](LinkId link) { return is_dead(link); }))
      return routes.add_reference(pair, old);
  }
  std::vector<LinkId> found;
  router->find(from, to, found);
  return routes.add_copy(pair, found);
}

RouteCache::Route RouteCache::add_copy(std::uint64_t pair, Route route) {
  constexpr std::size_t kBlock = std::size_t{1} << 14;
  if (route.size() > left_) {
    left_ = std::max(kBlock, route.size());
    blocks_.push_back(std::make_unique<LinkId[]>(left_));
    next_ = blocks_.back().get();
  }
  std::copy(route.begin(), route.end(), next_);
  const Route stored(next_, route.size());
  next_ += route.size();
  left_ -= route.size();
  return routes_.emplace(pair, stored).first->second;
}

}  // namespace foretoken::plan
