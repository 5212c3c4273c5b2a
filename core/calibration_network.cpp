#include "core/calibration_network.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace foretoken {
namespace {

using nlohmann::json;

constexpr double kMicrosecondsPerSecond = 1e6;
constexpr double kBytesPerGigabyte = 1e9;
// No machine has more, and sums over ranks stay far inside an int.
constexpr std::int64_t kRanksMax = 1 << 20;
constexpr std::int64_t kBytesMax = std::int64_t{1} << 60;
constexpr std::size_t kRangesMax = 64;

std::string text_of(Seconds time) { return fmt::format("{:.6g} us", time.value() * kMicrosecondsPerSecond); }
std::string text_of(BytesPerSecond rate) { return fmt::format("{:.6g} GB/s", rate.value() / kBytesPerGigabyte); }
std::string text_of(Bytes size) { return fmt::format("{} B", size.value()); }

json json_of(const FittedRange& range) {
  return {{"ranks", {range.ranks_min, range.ranks_max}},
          {"nodes", {range.nodes_min, range.nodes_max}},
          {"bytes", {text_of(range.bytes_min), text_of(range.bytes_max)}}};
}

json json_of(const std::vector<FittedRange>& fitted) {
  json list = json::array();
  for (const FittedRange& range : fitted) list.push_back(json_of(range));
  return list;
}

json json_of(const std::vector<FittedCollective>& fitted) {
  json list = json::array();
  for (const FittedCollective& entry : fitted) {
    json item = json_of(entry.range);
    item["op"] = std::string(name_of(entry.op));
    list.push_back(std::move(item));
  }
  return list;
}

json json_of(const LinkCalibration& link) {
  return {{"nominal", text_of(link.nominal)},
          {"payload_efficiency", std::stod(fmt::format("{:.6g}", link.payload_efficiency))},
          {"provenance", std::string(name_of(link.provenance))},
          {"source", link.source}};
}

json json_of(const MessageCalibration& message) {
  return {{"latency", text_of(message.latency)},
          {"rate", text_of(message.rate)},
          {"fitted", json_of(message.fitted)},
          {"source", message.source}};
}

json json_of(const ExchangeCalibration& exchange) {
  json out = {{"latency_one_node", text_of(exchange.latency_one_node)},
              {"latency_across_nodes", text_of(exchange.latency_across_nodes)},
              {"queue_latency", text_of(exchange.queue_latency)},
              {"rate_in_node", text_of(exchange.rate_in_node)},
              {"rate_across_nodes", text_of(exchange.rate_across_nodes)},
              {"queues", {exchange.queues_min, exchange.queues_max}},
              {"fitted", json_of(exchange.fitted)},
              {"source", exchange.source}};
  if (exchange.blocks)
    out["blocks"] = {{"unit_latency", text_of(exchange.blocks->unit_latency)},
                     {"rate", text_of(exchange.blocks->rate)},
                     {"sms", exchange.blocks->sms}};
  return out;
}

json json_of(const TreeCalibration& tree) {
  return {{"network_step_latency", text_of(tree.network_step_latency)},
          {"ll_rate", text_of(tree.ll_rate)},
          {"fitted", json_of(tree.fitted)},
          {"source", tree.source}};
}

json json_of(const NvlsTreeCalibration& tree) {
  return {{"latency", text_of(tree.latency)},
          {"wire_rate", text_of(tree.wire_rate)},
          {"fill_latency", text_of(tree.fill_latency)},
          {"fitted", json_of(tree.fitted)},
          {"source", tree.source}};
}

json json_of(const HierarchicalCalibration& exchange) {
  return {{"latency_one_node", text_of(exchange.latency_one_node)},
          {"latency_across_nodes", text_of(exchange.latency_across_nodes)},
          {"rate_in_node_per_sm", text_of(exchange.rate_in_node_per_sm)},
          {"rate_in_node", text_of(exchange.rate_in_node)},
          {"rate_across_nodes_per_sm", text_of(exchange.rate_across_nodes_per_sm)},
          {"sms", {exchange.sms_min, exchange.sms_max}},
          {"fitted", json_of(exchange.fitted)},
          {"source", exchange.source}};
}

Seconds latency(JsonObject& object, std::string_view key) {
  return object.require(key).as_duration(Seconds(0.0), Seconds(1.0));
}

BytesPerSecond rate(JsonObject& object, std::string_view key) {
  return object.require(key).as_bandwidth(BytesPerSecond(1e3), BytesPerSecond(1e15));
}

std::pair<int, int> integer_range(JsonObject& object, std::string_view key) {
  const JsonReader place = object.require(key);
  const std::vector<std::int64_t> ends = place.as_integers(2, 2, 1, kRanksMax);
  if (ends[0] > ends[1]) place.fail(place.shown() + " ends before it starts", "write [smallest, largest]");
  return {static_cast<int>(ends[0]), static_cast<int>(ends[1])};
}

FittedRange read_range(JsonObject& object) {
  FittedRange range;
  std::tie(range.ranks_min, range.ranks_max) = integer_range(object, "ranks");
  std::tie(range.nodes_min, range.nodes_max) = integer_range(object, "nodes");
  const JsonReader place = object.require("bytes");
  const std::vector<JsonReader> ends = place.as_array(2, 2);
  range.bytes_min = ends[0].as_bytes(Bytes(0), Bytes(kBytesMax));
  range.bytes_max = ends[1].as_bytes(Bytes(0), Bytes(kBytesMax));
  if (range.bytes_min > range.bytes_max) {
    place.fail(place.shown() + " ends before it starts", "write [smallest, largest]");
  }
  return range;
}

std::vector<FittedCollective> read_fitted_collectives(JsonObject& object) {
  std::vector<FittedCollective> fitted;
  for (const JsonReader& place : object.require("fitted").as_array(0, kRangesMax)) {
    JsonObject item(place);
    FittedCollective entry;
    entry.op = item.require("op").as_enum(kCollectiveOpNames);
    entry.range = read_range(item);
    item.finish();
    fitted.push_back(entry);
  }
  return fitted;
}

std::vector<FittedRange> read_fitted_ranges(JsonObject& object) {
  std::vector<FittedRange> fitted;
  for (const JsonReader& place : object.require("fitted").as_array(0, kRangesMax)) {
    JsonObject item(place);
    fitted.push_back(read_range(item));
    item.finish();
  }
  return fitted;
}

LinkCalibration read_link(const JsonReader& place) {
  JsonObject object(place);
  LinkCalibration link;
  link.nominal = rate(object, "nominal");
  // An efficiency of zero would make every transfer endless.
  link.payload_efficiency = object.require("payload_efficiency").as_number(1e-3, 1.0);
  link.provenance = object.require("provenance").as_enum(kProvenanceNames);
  link.source = object.require("source").as_string();
  object.finish();
  return link;
}

RingCalibration read_ring(const JsonReader& place) {
  JsonObject object(place);
  RingCalibration ring;
  ring.base_latency = latency(object, "base_latency");
  ring.step_latency = latency(object, "step_latency");
  ring.network_step_latency = latency(object, "network_step_latency");
  ring.ll_rate = rate(object, "ll_rate");
  ring.ll128_latency = latency(object, "ll128_latency");
  ring.ll128_rate = rate(object, "ll128_rate");
  ring.simple_latency = latency(object, "simple_latency");
  ring.simple_wire_rate = rate(object, "simple_wire_rate");
  ring.simple_local_rate = rate(object, "simple_local_rate");
  ring.fitted = read_fitted_collectives(object);
  ring.source = object.require("source").as_string();
  object.finish();
  return ring;
}

NvlsCalibration read_nvls(const JsonReader& place) {
  JsonObject object(place);
  NvlsCalibration nvls;
  nvls.latency = latency(object, "latency");
  nvls.wire_rate = rate(object, "wire_rate");
  nvls.fitted = read_fitted_collectives(object);
  nvls.source = object.require("source").as_string();
  object.finish();
  return nvls;
}

DirectCalibration read_direct(const JsonReader& place) {
  JsonObject object(place);
  DirectCalibration direct;
  direct.base_latency = latency(object, "base_latency");
  direct.peer_latency = latency(object, "peer_latency");
  direct.one_shot_rate = rate(object, "one_shot_rate");
  direct.second_shot_latency = latency(object, "second_shot_latency");
  direct.two_shot_rate = rate(object, "two_shot_rate");
  direct.fitted = read_fitted_collectives(object);
  direct.source = object.require("source").as_string();
  object.finish();
  return direct;
}

MessageCalibration read_message(const JsonReader& place) {
  JsonObject object(place);
  MessageCalibration message;
  message.latency = latency(object, "latency");
  message.rate = rate(object, "rate");
  JsonObject fitted(object.require("fitted"));
  message.fitted = read_range(fitted);
  fitted.finish();
  message.source = object.require("source").as_string();
  object.finish();
  return message;
}

ExchangeBlocks read_blocks(const JsonReader& place) {
  JsonObject object(place);
  ExchangeBlocks blocks;
  blocks.unit_latency = latency(object, "unit_latency");
  blocks.rate = rate(object, "rate");
  blocks.sms = static_cast<int>(object.require("sms").as_integer(1, kRanksMax));
  object.finish();
  return blocks;
}

ExchangeCalibration read_exchange(const JsonReader& place) {
  JsonObject object(place);
  ExchangeCalibration exchange;
  exchange.latency_one_node = latency(object, "latency_one_node");
  exchange.latency_across_nodes = latency(object, "latency_across_nodes");
  exchange.queue_latency = latency(object, "queue_latency");
  exchange.rate_in_node = rate(object, "rate_in_node");
  exchange.rate_across_nodes = rate(object, "rate_across_nodes");
  std::tie(exchange.queues_min, exchange.queues_max) = integer_range(object, "queues");
  if (const auto blocks = object.optional("blocks")) exchange.blocks = read_blocks(*blocks);
  exchange.fitted = read_fitted_ranges(object);
  exchange.source = object.require("source").as_string();
  object.finish();
  return exchange;
}

TreeCalibration read_tree(const JsonReader& place) {
  JsonObject object(place);
  TreeCalibration tree;
  tree.network_step_latency = latency(object, "network_step_latency");
  tree.ll_rate = rate(object, "ll_rate");
  tree.fitted = read_fitted_collectives(object);
  tree.source = object.require("source").as_string();
  object.finish();
  return tree;
}

NvlsTreeCalibration read_nvls_tree(const JsonReader& place) {
  JsonObject object(place);
  NvlsTreeCalibration tree;
  tree.latency = latency(object, "latency");
  tree.wire_rate = rate(object, "wire_rate");
  tree.fill_latency = latency(object, "fill_latency");
  tree.fitted = read_fitted_collectives(object);
  tree.source = object.require("source").as_string();
  object.finish();
  return tree;
}

HierarchicalCalibration read_hierarchical(const JsonReader& place) {
  JsonObject object(place);
  HierarchicalCalibration exchange;
  exchange.latency_one_node = latency(object, "latency_one_node");
  exchange.latency_across_nodes = latency(object, "latency_across_nodes");
  exchange.rate_in_node_per_sm = rate(object, "rate_in_node_per_sm");
  exchange.rate_in_node = rate(object, "rate_in_node");
  exchange.rate_across_nodes_per_sm = rate(object, "rate_across_nodes_per_sm");
  std::tie(exchange.sms_min, exchange.sms_max) = integer_range(object, "sms");
  exchange.fitted = read_fitted_ranges(object);
  exchange.source = object.require("source").as_string();
  object.finish();
  return exchange;
}

}  // namespace

const LinkCalibration& NetworkCalibration::link(LinkClass which) const {
  switch (which) {
    case LinkClass::nvlink: return nvlink;
    case LinkClass::pcie: return pcie;
    case LinkClass::infiniband: return infiniband;
  }
  FORETOKEN_CHECK(false, "unknown link class");
  return nvlink;
}

NetworkCalibration read_network_calibration(const JsonReader& place) {
  JsonObject object(place);
  NetworkCalibration network;
  JsonObject links(object.require("links"));
  network.nvlink = read_link(links.require("nvlink"));
  network.pcie = read_link(links.require("pcie"));
  network.infiniband = read_link(links.require("infiniband"));
  links.finish();
  network.ring = read_ring(object.require("ring"));
  network.nvls = read_nvls(object.require("nvls"));
  network.direct = read_direct(object.require("direct"));
  JsonObject message(object.require("message"));
  network.message_in_node = read_message(message.require("in_node"));
  network.message_across_nodes = read_message(message.require("across_nodes"));
  message.finish();
  network.dispatch = read_exchange(object.require("dispatch"));
  network.combine = read_exchange(object.require("combine"));
  if (const auto tree = object.optional("tree")) network.tree = read_tree(*tree);
  if (const auto tree = object.optional("nvls_tree")) network.nvls_tree = read_nvls_tree(*tree);
  if (const auto exchange = object.optional("hierarchical_dispatch"))
    network.hierarchical_dispatch = read_hierarchical(*exchange);
  if (const auto exchange = object.optional("hierarchical_combine"))
    network.hierarchical_combine = read_hierarchical(*exchange);
  object.finish();
  return network;
}

json to_json(const NetworkCalibration& network) {
  const RingCalibration& ring = network.ring;
  const DirectCalibration& direct = network.direct;
  json out = {
      {"links",
       {{"nvlink", json_of(network.nvlink)},
        {"pcie", json_of(network.pcie)},
        {"infiniband", json_of(network.infiniband)}}},
      {"ring",
       {{"base_latency", text_of(ring.base_latency)},
        {"step_latency", text_of(ring.step_latency)},
        {"network_step_latency", text_of(ring.network_step_latency)},
        {"ll_rate", text_of(ring.ll_rate)},
        {"ll128_latency", text_of(ring.ll128_latency)},
        {"ll128_rate", text_of(ring.ll128_rate)},
        {"simple_latency", text_of(ring.simple_latency)},
        {"simple_wire_rate", text_of(ring.simple_wire_rate)},
        {"simple_local_rate", text_of(ring.simple_local_rate)},
        {"fitted", json_of(ring.fitted)},
        {"source", ring.source}}},
      {"nvls",
       {{"latency", text_of(network.nvls.latency)},
        {"wire_rate", text_of(network.nvls.wire_rate)},
        {"fitted", json_of(network.nvls.fitted)},
        {"source", network.nvls.source}}},
      {"direct",
       {{"base_latency", text_of(direct.base_latency)},
        {"peer_latency", text_of(direct.peer_latency)},
        {"one_shot_rate", text_of(direct.one_shot_rate)},
        {"second_shot_latency", text_of(direct.second_shot_latency)},
        {"two_shot_rate", text_of(direct.two_shot_rate)},
        {"fitted", json_of(direct.fitted)},
        {"source", direct.source}}},
      {"message",
       {{"in_node", json_of(network.message_in_node)}, {"across_nodes", json_of(network.message_across_nodes)}}},
      {"dispatch", json_of(network.dispatch)},
      {"combine", json_of(network.combine)}};
  if (network.tree) out["tree"] = json_of(*network.tree);
  if (network.nvls_tree) out["nvls_tree"] = json_of(*network.nvls_tree);
  if (network.hierarchical_dispatch) out["hierarchical_dispatch"] = json_of(*network.hierarchical_dispatch);
  if (network.hierarchical_combine) out["hierarchical_combine"] = json_of(*network.hierarchical_combine);
  return out;
}

}  // namespace foretoken
