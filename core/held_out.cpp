#include "core/held_out.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

namespace foretoken {
namespace {

// Dividing keeps the shortest decimal form.
double rounded(double value) { return std::round(value * 1e5) / 1e5; }

}  // namespace

HeldOut read_held_out(const JsonReader& place) {
  JsonObject object(place);
  HeldOut held_out;
  held_out.median = object.require("median").as_number(0, 1e6);
  held_out.p90 = object.require("p90").as_number(0, 1e6);
  held_out.signed_mean = object.require("signed_mean").as_number(-1, 1e6);
  held_out.rows = object.require("rows").as_integer(0, 1'000'000'000);
  held_out.groups = object.require("groups").as_integer(0, 1'000'000'000);
  held_out.folds = object.require("folds").as_integer(0, 1'000'000);
  held_out.seed = object.require("seed").as_integer(0, std::int64_t{1} << 53);
  object.finish();
  return held_out;
}

nlohmann::json to_json(const HeldOut& held_out) {
  return {{"median", rounded(held_out.median)},
          {"p90", rounded(held_out.p90)},
          {"signed_mean", rounded(held_out.signed_mean)},
          {"rows", held_out.rows},
          {"groups", held_out.groups},
          {"folds", held_out.folds},
          {"seed", held_out.seed}};
}

}  // namespace foretoken
