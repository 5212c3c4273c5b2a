// How a drawing words numbers and names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/machine/machine.hpp"
#include "tools/topology/picture.hpp"

namespace foretoken::topology {

/// "400 Gb/s" of a network, "450 GB/s" of anything inside a node.
std::string rate_text(LinkClass link, BytesPerSecond rate);
/// "150 ns", "1.5 us", "0".
std::string latency_text(Seconds latency);
/// "16 GiB" or "80 GB": whichever is the rounder.
std::string memory_text(Bytes memory);
/// "1 : 1", "2 : 1", "1.33 to 2 : 1".
std::string oversubscription_text(const Oversubscription& oversubscription);
/// "1 leaf", "8 leaves", "2 switches".
std::string counted(std::int64_t count, const std::string& kind);
/// "spine0", "spine0, spine1", "spine0 ... spine15".
std::string range_text(const std::vector<VertexId>& switches, const plan::Machine& machine);
/// "2 x 400 Gb/s": how many cables a bundle has, and of what rate; "1 to 2 x 400 Gb/s" where they differ.
std::string bundle_text(const std::vector<Bundle>& bundles);
/// "8 leaves, each of one rail", "16 spines, sprayed as one".
std::string tier_text(const Picture& picture, std::size_t tier);
/// What lies below a tier: "2 x 400 Gb/s from every leaf to every spine", "400 Gb/s from every NIC".
std::string cables_text(const Picture& picture, std::size_t tier);

}  // namespace foretoken::topology
