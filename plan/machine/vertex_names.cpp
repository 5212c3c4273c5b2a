#include "plan/machine/vertex_names.hpp"

#include <charconv>
#include <system_error>

namespace foretoken::plan {
namespace {

// Takes a whole number without sign or leading zeros off the front of `text`.
std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t number = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto digits = static_cast<std::size_t>(rest - text.data());
  if (status != std::errc() || number < 0 || text.front() == '-' || (digits > 1 && text.front() == '0'))
    return std::nullopt;
  text.remove_prefix(digits);
  return number;
}

}  // namespace

std::optional<NodePart> parse_node_part(std::string_view name, std::string_view part) {
  constexpr std::string_view kNode = "node";
  if (!name.starts_with(kNode)) return std::nullopt;
  name.remove_prefix(kNode.size());
  const auto node = take_number(name);
  if (!node || !name.starts_with(".")) return std::nullopt;
  name.remove_prefix(1);
  if (part.empty()) return NodePart{*node, 0};
  if (!name.starts_with(part)) return std::nullopt;
  name.remove_prefix(part.size());
  const auto index = take_number(name);
  if (!index || !name.empty()) return std::nullopt;
  return NodePart{*node, *index};
}

}  // namespace foretoken::plan
