// Kinds of link that share one calibration: what fraction of the nominal rate payload gets, and at what latency.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace foretoken {

/// nvlink      GPU to NVSwitch, one direction
/// pcie        GPU to NIC through the PCIe switch, one direction
/// infiniband  NIC to switch and switch to switch, one direction
enum class LinkClass : std::uint8_t { nvlink, pcie, infiniband };

constexpr std::array<std::pair<LinkClass, std::string_view>, 3> kLinkClassNames{
    {{LinkClass::nvlink, "nvlink"}, {LinkClass::pcie, "pcie"}, {LinkClass::infiniband, "infiniband"}}};

constexpr std::string_view name_of(LinkClass link) { return kLinkClassNames[static_cast<std::size_t>(link)].second; }

}  // namespace foretoken
