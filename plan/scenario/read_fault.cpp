#include "plan/scenario/read_fault.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace foretoken::plan {
namespace {

constexpr std::array<std::pair<FaultPart, std::string_view>, 4> kParts{{{FaultPart::link, "link"},
                                                                        {FaultPart::nic, "nic"},
                                                                        {FaultPart::fabric_switch, "switch"},
                                                                        {FaultPart::gpu, "gpu"}}};
constexpr double kShareMin = 1e-6;
constexpr Seconds kFaultTimeMax{1e6};

void read_part(JsonObject& object, FaultSpec& fault) {
  std::optional<JsonReader> found;
  for (const auto& [part, name] : kParts) {
    const auto given = object.optional(name);
    if (!given) continue;
    if (found) given->fail("the fault names two things", "write one fault for each");
    found = given;
    fault.part = part;
  }
  if (!found) object.place().fail("the fault does not say what fails", "add \"link\", \"nic\", \"switch\" or \"gpu\"");
  fault.pointer = found->pointer();
  if (fault.part != FaultPart::link) {
    fault.names = {found->as_string()};
    return;
  }
  for (const JsonReader& end : found->as_array(2, 2)) fault.names.push_back(end.as_string());
}

}  // namespace

FaultSpec read_fault(const JsonReader& place) {
  JsonObject object(place);
  FaultSpec fault;
  read_part(object, fault);
  if (const auto from = object.optional("from")) fault.from = from->as_duration(Seconds(0), kFaultTimeMax);
  const bool is_gpu = fault.part == FaultPart::gpu;
  const auto share = object.optional(is_gpu ? "speed" : "bandwidth");
  const auto dead = object.optional("dead");
  if (const auto other = object.optional(is_gpu ? "bandwidth" : "speed"))
    other->fail(is_gpu ? "a GPU has no one bandwidth" : "only a GPU has a speed",
                is_gpu ? "write \"speed\"" : "write \"bandwidth\"");
  if (dead && (is_gpu || !dead->as_bool()))
    dead->fail(is_gpu ? "a rank without its GPU cannot go on" : "false says nothing",
               is_gpu ? "give a \"speed\" instead" : "leave it out");
  if (share) fault.share = share->as_share(kShareMin, 1);
  if (share && dead) dead->fail("is given beside \"bandwidth\"", "what is dead has none: remove one of them");
  if (!share && !dead)
    place.fail("the fault does not say what is left",
               is_gpu ? "add \"speed\", such as \"50 %\"" : "add \"bandwidth\", such as \"10 %\", or \"dead\": true");
  object.finish();
  return fault;
}

}  // namespace foretoken::plan
