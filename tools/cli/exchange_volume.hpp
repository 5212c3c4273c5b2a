// What a step's exchanges move between ranks, as text and JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "plan/program/wire_rows.hpp"

namespace foretoken::cli {

/// "(planned): 1.20 MB per step between ranks, …"
std::string text_of(const plan::ExchangeVolume& volume, const plan::Scenario& scenario);

/// Bytes: useful, wire, counts; between nodes too, where a token is sent once per node.
nlohmann::ordered_json json_of(const plan::ExchangeVolume& volume);

}  // namespace foretoken::cli
