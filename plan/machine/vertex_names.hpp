// Names of the parts of a node: "node3.gpu5", "node0.nic2", "node1.nvswitch", "node1.pcie0".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace foretoken::plan {

struct NodePart {
  std::int64_t node = 0;
  std::int64_t index = 0;
};

/// Node and index of "node<node>.<part><index>"; nothing if `name` is of another form. With part "" any name that
/// begins with "node<node>." counts, and the index means nothing.
/// Example: parse_node_part("node3.gpu5", "gpu") is {3, 5}.
std::optional<NodePart> parse_node_part(std::string_view name, std::string_view part);

}  // namespace foretoken::plan
