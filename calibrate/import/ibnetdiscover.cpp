// Two forms of the same. Blocks: a line for a device, then a line for each of its ports that has a cable.
//
//   Switch  64 "S-<guid>"   # "leaf-r0" base port 0 lid 3 lmc 0
//   [1]     "H-<guid>"[1](<port guid>)   # "node001 mlx5_0" lid 41 4xNDR
//   Ca      1 "H-<guid>"    # "node001 mlx5_0"
//   [1](<port guid>)  "S-<guid>"[1]      # lid 41 lmc 0 "leaf-r0" lid 3 4xNDR
//
// Or, with -p, a line for each port:
//
//   CA    41  1 0x<guid> 4x NDR - SW     3  1 0x<guid> ( 'node001 mlx5_0' - 'leaf-r0' )
#include "calibrate/import/ibnetdiscover.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "calibrate/import/log_text.hpp"

namespace foretoken::calibrate {
namespace {

constexpr std::string_view kMend = "give all that `ibnetdiscover` prints, or `ibnetdiscover -p`";
constexpr std::size_t kPortsMax = 1 << 20;

// Gb/s of data on one lane. Source: InfiniBand Architecture Specification, rates less the line code of 8 in 10 bits (up
// to QDR) or 64 in 66.
constexpr std::array<std::pair<std::string_view, double>, 9> kLaneRates{{{"SDR", 2},
                                                                         {"DDR", 4},
                                                                         {"QDR", 8},
                                                                         {"FDR10", 10},
                                                                         {"FDR", 13.64},
                                                                         {"EDR", 25},
                                                                         {"HDR", 50},
                                                                         {"NDR", 100},
                                                                         {"XDR", 200}}};

struct Port {
  IbEnd peer;
  BytesPerSecond bandwidth;
  std::string speed;
  std::size_t line = 0;
};

std::string_view kind_name(IbKind kind) {
  switch (kind) {
    case IbKind::channel_adapter: return "adapter";
    case IbKind::ib_switch: return "switch";
    case IbKind::router: break;
  }
  return "router";
}

std::string text_of(const IbEnd& end) {
  return fmt::format("port {} of {} 0x{:x}", end.port, kind_name(end.device.kind), end.device.guid);
}

class FabricReader {
 public:
  explicit FabricReader(const LogPlace& log) : log_(log) {}

  IbFabric read() {
    // Not LogText, which would take "[1]" for the tag of a launcher.
    std::string_view rest = log_.text;
    while (!rest.empty()) {
      ++line_;
      const std::size_t end = rest.find('\n');
      read_line(trimmed(rest.substr(0, end)));
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    if (ports_.empty()) throw log_.error(1, "has no port that is cabled", std::string(kMend));
    join_ends();
    return std::move(fabric_);
  }

 private:
  [[noreturn]] void fail(std::string_view found, std::string_view expected = kMend) const {
    throw log_.error(line_, found, std::string(expected));
  }

  void read_line(std::string_view line) {
    if (line.empty() || line.front() == '#') return;
    if (line.front() == '[') return read_block_port(line);
    for (const auto& [word, kind] : kBlocks)
      if (line.starts_with(word) && line.substr(word.size()).find_first_of(" \t") == 0)
        return read_device(line.substr(word.size()), kind);
    if (line.starts_with("SW ") || line.starts_with("CA ") || line.starts_with("RT ")) return read_listed_port(line);
    for (const std::string_view known :
         {"vendid=", "devid=", "sysimgguid=", "switchguid=", "caguid=", "rtguid=", "Chassis ", "Hostname:"})
      if (line.starts_with(known)) return;
    fail(fmt::format("{} is no line of ibnetdiscover", quoted_for_message(line)));
  }

  // ---- blocks ------------------------------------------------------------------------------------------------------

  static constexpr std::array<std::pair<std::string_view, IbKind>, 3> kBlocks{
      {{"Switch", IbKind::ib_switch}, {"Ca", IbKind::channel_adapter}, {"Rt", IbKind::router}}};

  // `64 "S-<guid>"  # "leaf-r0" base port 0 lid 3 lmc 0`
  void read_device(std::string_view rest, IbKind kind) {
    if (!take_whole(rest)) fail("a device without its number of ports");
    const auto device = take_device(rest);
    if (!device || device->kind != kind) fail("a device without its name in quotes");
    const auto description = quoted(rest);
    if (!take(rest, "#") || !description) fail("a device without its description");
    if (fabric_.descriptions.contains(*device))
      fail(fmt::format("{} 0x{:x} appears a second time", kind_name(kind), device->guid),
           "was the output of two runs joined?");
    fabric_.descriptions[*device] = *description;
    block_ = device;
  }

  // `[1](c11)  "S-<guid>"[1]  # ... "leaf-r0" lid 3 4xNDR`, in a switch's block without the first brackets.
  void read_block_port(std::string_view line) {
    if (!block_) fail("a port before the first device");
    IbEnd end{*block_, take_port(line)};
    take_port_guid(line);
    const auto peer = take_device(line);
    if (!peer) fail("a port without the device that it is cabled to");
    Port port{{*peer, take_port(line)}, {}, {}, line_};
    const std::size_t last_quote = line.rfind('"');
    if (line.find('#') == std::string_view::npos || last_quote == std::string_view::npos)
      fail("a port without its speed");
    const auto words = words_of(line.substr(last_quote + 1));
    const auto speed = std::find_if(words.begin(), words.end(), [](std::string_view word) {
      return word.find('x') != std::string_view::npos || word.find('?') != std::string_view::npos;
    });
    if (speed == words.end()) fail("a port without its speed");
    set_speed(*speed, port);
    add(end, std::move(port));
  }

  // "[1]" or, of a chassis, "[1][ext 3]".
  std::int64_t take_port(std::string_view& rest) {
    std::optional<std::int64_t> port;
    if (take(rest, "[")) port = take_whole(rest);
    if (!port || *port < 1 || *port > 255 || !take(rest, "]")) fail("a port without its number in brackets");
    if (take(rest, "[ext") && (!take_whole(rest) || !take(rest, "]"))) fail("an external port without its number");
    return *port;
  }

  void take_port_guid(std::string_view& rest) const {
    if (!take(rest, "(")) return;
    if (!take_hex(rest) || !take(rest, ")")) fail("a port's GUID that does not end");
  }

  // `"S-0000000000000b01"`
  static std::optional<IbDevice> take_device(std::string_view& rest) {
    IbDevice device;
    if (take(rest, "\"S-")) device.kind = IbKind::ib_switch;
    else if (take(rest, "\"R-")) device.kind = IbKind::router;
    else if (!take(rest, "\"H-")) return std::nullopt;
    const auto guid = take_hex(rest);
    if (!guid || !take(rest, "\"")) return std::nullopt;
    device.guid = *guid;
    return device;
  }

  // What stands between the first two quotes.
  static std::optional<std::string> quoted(std::string_view text) {
    const std::size_t begin = text.find('"');
    if (begin == std::string_view::npos) return std::nullopt;
    const std::size_t end = text.find('"', begin + 1);
    if (end == std::string_view::npos) return std::nullopt;
    return std::string(text.substr(begin + 1, end - begin - 1));
  }

  // ---- the list of ports -------------------------------------------------------------------------------------------

  void read_listed_port(std::string_view line) {
    const std::size_t names = line.find(" ( '");
    const std::size_t dash = line.substr(0, names).find(" - ");
    if (dash == std::string_view::npos) {
      // Nothing is plugged in: the name follows at once.
      if (line.ends_with('\'')) return;
      fail("a port without the one that it is cabled to");
    }
    if (names == std::string_view::npos) fail("a port without the names of both ends");
    const auto here = words_of(line.substr(0, dash));
    const auto there = words_of(line.substr(dash + 3, names - dash - 3));
    if (here.size() != 6 || there.size() != 4) fail("a port of another number of columns");
    const IbEnd end = listed_end(here);
    Port port{listed_end(there), {}, {}, line_};
    set_speed(std::string(here[4]) + std::string(here[5]), port);
    const auto both = line.substr(names + 4);
    const std::size_t between = both.find("' - '");
    if (between == std::string_view::npos || !both.ends_with("' )")) fail("names of both ends that do not end");
    describe(end.device, both.substr(0, between));
    add(end, std::move(port));
  }

  // "SW", lid, port, GUID
  [[nodiscard]] IbEnd listed_end(const std::vector<std::string_view>& words) const {
    IbEnd end;
    if (words[0] == "SW") end.device.kind = IbKind::ib_switch;
    else if (words[0] == "RT") end.device.kind = IbKind::router;
    else if (words[0] != "CA") fail(fmt::format("{} for a kind of device", quoted_for_message(words[0])));
    const auto port = whole_number_in(words[2]);
    std::string_view guid = words[3];
    const auto value = take(guid, "0x") ? take_hex(guid) : std::nullopt;
    if (!port || *port < 1 || *port > 255 || !value || !guid.empty()) fail("a port without its number and GUID");
    end.port = *port;
    end.device.guid = *value;
    return end;
  }

  void describe(const IbDevice& device, std::string_view description) {
    const auto [known, is_new] = fabric_.descriptions.emplace(device, std::string(description));
    if (!is_new && known->second != description)
      fail(fmt::format("{} 0x{:x} is {} here, and {} above", kind_name(device.kind), device.guid,
                       quoted_for_message(description), quoted_for_message(known->second)));
  }

  // ---- both --------------------------------------------------------------------------------------------------------

  static std::optional<std::uint64_t> take_hex(std::string_view& rest) {
    std::uint64_t value = 0;
    const auto [end, status] = std::from_chars(rest.data(), rest.data() + rest.size(), value, 16);
    if (status != std::errc()) return std::nullopt;
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    return value;
  }

  static std::optional<std::int64_t> take_whole(std::string_view& rest) {
    while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\t')) rest.remove_prefix(1);
    std::int64_t value = 0;
    const auto [end, status] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (status != std::errc() || value < 0) return std::nullopt;
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    return value;
  }

  void set_speed(std::string_view text, Port& port) const {
    std::string_view rest = text;
    const auto lanes = take_whole(rest);
    const bool known_width = lanes && (*lanes == 1 || *lanes == 2 || *lanes == 4 || *lanes == 8 || *lanes == 12);
    if (known_width && take(rest, "x")) {
      for (const auto& [name, rate] : kLaneRates) {
        if (rest != name) continue;
        port.bandwidth = BytesPerSecond(static_cast<double>(*lanes) * rate * 1e9 / 8);
        port.speed = std::string(text);
        return;
      }
    }
    fail(fmt::format("{} for a port's width and speed", quoted_for_message(text)),
         "1x to 12x and SDR to XDR are known; what an older ibnetdiscover does not know it prints as ???: run a newer "
         "one, or write for example 4xXDR");
  }

  void add(const IbEnd& end, Port port) {
    if (end == port.peer) fail("a port that is cabled to itself");
    if (!ports_.emplace(end, std::move(port)).second) fail(fmt::format("{} appears a second time", text_of(end)));
    if (ports_.size() > kPortsMax) fail("too many ports", fmt::format("at most {} are read", kPortsMax));
  }

  void join_ends() {
    for (const auto& [end, port] : ports_) {
      line_ = port.line;
      const auto other = ports_.find(port.peer);
      if (other == ports_.end())
        fail(fmt::format("{} is cabled to {}, which is not listed", text_of(end), text_of(port.peer)),
             fabric_.descriptions.contains(port.peer.device)
                 ? "both ends list a cable: discovery failed there, repeat it"
                 : "was the file cut? give all that `ibnetdiscover` prints");
      if (other->second.peer != end)
        fail(fmt::format("{} is cabled to {}, which is cabled to {}", text_of(end), text_of(port.peer),
                         text_of(other->second.peer)),
             "both ends list a cable: the fabric changed during discovery, repeat it");
      if (other->second.speed != port.speed)
        fail(fmt::format("{} runs at {}, and its other end, on line {}, at {}", text_of(end), port.speed,
                         other->second.line, other->second.speed),
             "both ends have one speed: the link came up anew during discovery, repeat it");
      if (end < port.peer) fabric_.cables.push_back({end, port.peer, port.bandwidth, port.speed});
    }
  }

  const LogPlace& log_;
  std::size_t line_ = 0;
  IbFabric fabric_;
  std::optional<IbDevice> block_;
  std::map<IbEnd, Port> ports_;
};

}  // namespace

IbFabric read_ibnetdiscover(const LogPlace& log) { return FabricReader(log).read(); }

}  // namespace foretoken::calibrate
