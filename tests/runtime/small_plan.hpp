// Plans that are small enough for 64 ranks on one core: a tiny model, and a machine that is only as large as need be.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.hpp"

namespace foretoken::test {

/// As --set takes them: "deployment.attention.tp=2".
using Settings = std::vector<std::string>;

inline Settings operator+(Settings a, const Settings& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// The model has 3 layers, hidden 32, 4 heads of 8, 4 experts of 24 and top 2; 8 sequences at context 5, 2 routed
/// steps, uniform, seed 1. One rank, unless the settings say otherwise. "cluster.nodes=21" makes nodes of 64 / 21 = 3
/// ranks; otherwise all are on one.
/// @param nvls     whether the machine's switch can add
plan::Plan small_plan(const Settings& settings = {}, bool nvls = false);

/// A plan of a scenario of scenarios/paper on its own machine: the deployments of 16 and 64 H100s.
plan::Plan paper_plan(const std::string& name, const Settings& settings = {});

/// Names of the scenarios in scenarios/laptop, sorted: "baseline-r1".
std::vector<std::string> laptop_scenarios();

/// A deployment of scenarios/laptop with a tiny model: hidden 32, heads of 8, experts of 24; 11 sequences at context 5,
/// 2 routed steps. Layers, heads, experts, routing and all of the deployment are the scenario's.
plan::Plan laptop_plan(const std::string& name, const Settings& settings = {});

}  // namespace foretoken::test
