#include "tools/topology/wording.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace foretoken::topology {
namespace {

// Whether every switch of the tier is cabled to every one of the tier below.
bool all_to_all(const Picture& picture, std::size_t tier) {
  return picture.tiers[tier].down.size() ==
         picture.tiers[tier].switches.size() * picture.tiers[tier - 1].switches.size();
}

}  // namespace

std::string rate_text(LinkClass link, BytesPerSecond rate) {
  if (link != LinkClass::infiniband) return fmt::format("{:.4g} GB/s", rate.value() / 1e9);
  const double bits = rate.value() * 8;
  if (bits >= 1e9) return fmt::format("{:.4g} Gb/s", bits / 1e9);
  return fmt::format("{:.4g} Mb/s", bits / 1e6);
}

std::string latency_text(Seconds latency) {
  const double ns = latency.value() * 1e9;
  if (ns <= 0) return "0";
  return ns < 1000 ? fmt::format("{:.4g} ns", ns) : fmt::format("{:.4g} us", ns / 1000);
}

std::string oversubscription_text(const Oversubscription& oversubscription) {
  const std::string min = fmt::format("{:.3g}", oversubscription.min);
  const std::string max = fmt::format("{:.3g}", oversubscription.max);
  return min == max ? max + " : 1" : min + " to " + max + " : 1";
}

std::string counted(std::int64_t count, const std::string& kind) {
  if (count == 1) return "1 " + kind;
  if (kind == "leaf") return fmt::format("{} leaves", count);
  return fmt::format("{} {}{}", count, kind, kind.ends_with("ch") ? "es" : "s");
}

std::string memory_text(Bytes memory) {
  constexpr std::int64_t gib = std::int64_t{1} << 30;
  if (memory.value() % gib == 0) return fmt::format("{} GiB", memory.value() / gib);
  return fmt::format("{:.4g} GB", static_cast<double>(memory.value()) / 1e9);
}

std::string range_text(const std::vector<VertexId>& switches, const plan::Machine& machine) {
  const std::string first = machine.vertex_name(switches.front());
  if (switches.size() == 1) return first;
  return first + (switches.size() == 2 ? ", " : " ... ") + machine.vertex_name(switches.back());
}

std::string bundle_text(const std::vector<Bundle>& bundles) {
  const auto [fewest, most] = std::minmax_element(bundles.begin(), bundles.end(),
                                                  [](const auto& a, const auto& b) { return a.cables < b.cables; });
  const auto each = [](const Bundle& bundle) { return bundle.bandwidth / static_cast<double>(bundle.cables); };
  const auto [slowest, fastest] = std::minmax_element(bundles.begin(), bundles.end(),
                                                      [&](const auto& a, const auto& b) { return each(a) < each(b); });
  const std::string counts = fewest->cables == most->cables ? fmt::format("{}", most->cables)
                                                            : fmt::format("{} to {}", fewest->cables, most->cables);
  const std::string fast = rate_text(LinkClass::infiniband, each(*fastest));
  const std::string slow = rate_text(LinkClass::infiniband, each(*slowest));
  if (most->cables == 1) return slow == fast ? fast : slow + " to " + fast;
  return fmt::format("{} x {}", counts, slow == fast ? fast : slow + " to " + fast);
}

std::string tier_text(const Picture& picture, std::size_t tier) {
  if (tier == 1 && picture.sprayed_spines > 1) return counted(picture.sprayed_spines, "spine") + ", sprayed as one";
  const std::string count =
      counted(static_cast<std::int64_t>(picture.tiers[tier].switches.size()), picture.tiers[tier].kind);
  if (picture.tiers[tier].kind == "fabric") return "non-blocking";
  return tier == 0 && picture.rails ? count + ", each of one rail" : count;
}

std::string cables_text(const Picture& picture, std::size_t tier) {
  const std::string cables = bundle_text(picture.tiers[tier].down);
  if (tier == 0) return cables + " from every NIC";
  if (all_to_all(picture, tier))
    return fmt::format("{} from every {} to every {}", cables, picture.tiers[tier - 1].kind, picture.tiers[tier].kind);
  return fmt::format("{}, {} pairs of switches", cables, picture.tiers[tier].down.size());
}

}  // namespace foretoken::topology
