// Strong integer ids: a rank is not a node is not an op.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace foretoken {

/// An index into one particular table; `Tag` names the table.
template <class Tag>
class Id {
 public:
  constexpr Id() = default;
  constexpr explicit Id(std::int32_t value) : value_(value) {}
  constexpr explicit Id(std::size_t value) : value_(static_cast<std::int32_t>(value)) {}

  [[nodiscard]] constexpr std::int32_t value() const { return value_; }
  [[nodiscard]] constexpr std::size_t index() const { return static_cast<std::size_t>(value_); }
  [[nodiscard]] constexpr bool valid() const { return value_ >= 0; }
  constexpr auto operator<=>(const Id&) const = default;

 private:
  std::int32_t value_ = -1;
};

using RankId = Id<struct RankTag>;
using RoleId = Id<struct RoleTag>;
using OpId = Id<struct OpTag>;                        // index of an op within its role's program
using TensorId = Id<struct TensorTag>;                // index of a tensor within its role's table
using GroupId = Id<struct GroupTag>;                  // index of a group family in the Program
using CommunicationId = Id<struct CommunicationTag>;  // index of a communication in the Program
using VertexId = Id<struct VertexTag>;                // vertex of the machine graph
using LinkId = Id<struct LinkTag>;                    // directed link of the machine graph

}  // namespace foretoken

template <class Tag>
struct std::hash<foretoken::Id<Tag>> {
  std::size_t operator()(foretoken::Id<Tag> id) const noexcept { return std::hash<std::int32_t>{}(id.value()); }
};
