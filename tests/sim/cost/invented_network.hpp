// An invented machine with round numbers, so that expected times fit on one line above each assertion.
#pragma once

#include "core/calibration_network.hpp"

namespace foretoken::test {

/// base 10 us, step 1 us, network step 5 us. LL 1 GB/s; LL128 +20 us, 10 GB/s; Simple +100 us, 100 GB/s wire and
/// 1,000 GB/s local. NVLS 50 us, 200 GB/s. Direct 2 us + 1 us a peer, 100 GB/s, second shot 4 us, 80 GB/s.
/// Messages 5 us and 100 GB/s in a node, 20 us and 40 GB/s across. NIC 50 GB/s, all of it payload.
inline NetworkCalibration invented_network() {
  const auto us = [](double value) { return Seconds(value * 1e-6); };
  const auto gbps = [](double value) { return BytesPerSecond(value * 1e9); };
  const Bytes kib(1024);
  const Bytes gib(std::int64_t{1} << 30);

  NetworkCalibration network;
  network.nvlink = {gbps(400), 0.8, Provenance::measured, "invented"};
  network.pcie = {gbps(64), 0.5, Provenance::assumed, "invented"};
  network.infiniband = {gbps(50), 1.0, Provenance::measured, "invented"};

  network.ring.base_latency = us(10);
  network.ring.step_latency = us(1);
  network.ring.network_step_latency = us(5);
  network.ring.ll_rate = gbps(1);
  network.ring.ll128_latency = us(20);
  network.ring.ll128_rate = gbps(10);
  network.ring.simple_latency = us(100);
  network.ring.simple_wire_rate = gbps(100);
  network.ring.simple_local_rate = gbps(1000);
  network.ring.fitted = {{CollectiveOp::all_gather, {2, 8, 1, 1, kib, gib}},
                         {CollectiveOp::all_reduce, {2, 8, 1, 1, kib, gib}},
                         {CollectiveOp::all_reduce, {16, 16, 2, 2, kib, gib}}};
  network.ring.source = "invented";

  network.nvls.latency = us(50);
  network.nvls.wire_rate = gbps(200);
  network.nvls.fitted = {{CollectiveOp::all_reduce, {8, 8, 1, 1, kib, gib}}};
  network.nvls.source = "invented";

  network.direct.base_latency = us(2);
  network.direct.peer_latency = us(1);
  network.direct.one_shot_rate = gbps(100);
  network.direct.second_shot_latency = us(4);
  network.direct.two_shot_rate = gbps(80);
  network.direct.fitted = {{CollectiveOp::all_reduce, {2, 8, 1, 1, kib, gib}}};
  network.direct.source = "invented";

  network.message_in_node = {us(5), gbps(100), {2, 2, 1, 1, kib, gib}, "invented"};
  network.message_across_nodes = {us(20), gbps(40), {2, 2, 2, 2, kib, gib}, "invented"};

  network.dispatch.latency_one_node = us(8);
  network.dispatch.latency_across_nodes = us(16);
  network.dispatch.queue_latency = us(0.25);
  network.dispatch.rate_in_node = gbps(200);
  network.dispatch.rate_across_nodes = gbps(40);
  network.dispatch.fitted = {{8, 8, 1, 1, kib, gib}, {16, 16, 2, 2, kib, gib}};
  network.dispatch.source = "invented";
  network.combine = network.dispatch;
  network.combine.latency_one_node = us(12);
  return network;
}

}  // namespace foretoken::test
