// nccl-tests as JSON (-J FILE). Its member `env`, the whole environment of the process with whatever secrets that has,
// is not even looked at.
#include <fmt/format.h>

#include <map>
#include <set>

#include "calibrate/import/log_formats.hpp"
#include "calibrate/import/log_text.hpp"
#include "calibrate/import/nccl_tests.hpp"
#include "core/json_reader.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

constexpr std::size_t kRowsMax = 1'000'000;

// Numbers that are none are written as texts: "nan".
double number_of(JsonObject& object, std::string_view key) { return object.require(key).as_number(0, 1e15); }

void read_devices(const JsonReader& place, NcclRun& run) {
  std::map<std::string, std::int64_t> ranks_on;  // by host
  std::set<std::int64_t> ranks;
  for (const JsonReader& element : place.as_array(1, static_cast<std::size_t>(plan::kGpusMax))) {
    JsonObject device(element);
    const JsonReader group = device.require("group");
    if (group.as_integer(0, plan::kGpusMax) != 0)
      group.fail("several groups ran at once",
                 "import runs of one group: foretoken predicts a collective that has the network to itself");
    const JsonReader rank = device.require("rank");
    if (!ranks.insert(rank.as_integer(0, plan::kGpusMax - 1)).second)
      rank.fail("this rank appears twice", "list it once");
    ++ranks_on[device.require("hostname").as_string()];
    if (const auto info = device.optional("device_info")) run.device = info->as_string(true);
  }
  run.ranks = static_cast<std::int64_t>(ranks.size());
  run.nodes = static_cast<std::int64_t>(ranks_on.size());
  if (*ranks.rbegin() != run.ranks - 1)
    place.fail(fmt::format("{} ranks are listed, up to rank {}", run.ranks, *ranks.rbegin()), "list every rank once");
  if (const std::string uneven = uneven_hosts(ranks_on); !uneven.empty())
    place.fail(uneven, "import runs with as many ranks on every host");
}

void read_result(const JsonReader& place, const NcclRun& run, const LogPlace& log, Imported& imported) {
  JsonObject result(place);
  NcclRow row;
  row.bytes = result.require("size").as_integer(0, std::int64_t{1} << 50);
  row.type = result.require("type").as_string();
  const JsonReader outside = result.require("out_of_place");
  if (outside.json().is_null()) return imported.leave_out("in place only");
  JsonObject measured(outside);
  if (measured.has("cpu_time")) return imported.leave_out("of CPU time instead of time");
  row.time_us = number_of(measured, "time");
  row.algorithm_gb_per_s = number_of(measured, "alg_bw");
  row.bus_gb_per_s = number_of(measured, "bus_bw");
  if (const auto wrong = measured.optional("nwrong"); wrong && !wrong->json().is_null())
    row.wrong = wrong->as_number(0, 1e18);
  if (const auto inside = result.optional("in_place"); inside && inside->is_object()) {
    JsonObject in_place(*inside);
    if (const auto time = in_place.optional("time"); time && time->is_number())
      row.in_place_us = time->as_number(0, 1e15);
  }
  if (const auto iterations = result.optional("out_of_place_per_iter"); iterations && iterations->is_object())
    row.worst_rank_us = JsonObject(*iterations).require("max_us").as_number(0, 1e15);
  add_nccl_row(run, row, fmt::format("{}#{}", log.name, place.pointer()), imported);
}

}  // namespace

void import_nccl_tests_json(const LogPlace& log, ImportSettings& settings, Imported& imported) {
  const JsonDocument document = JsonDocument::from_text(log.text, log.name);
  JsonObject root(document.root());
  NcclRun run;
  if (const auto start = root.optional("start_time")) run.date = start->as_string(true);
  if (run.date.empty()) run.date = settings.text("date").value_or("");
  if (const auto code = root.optional("nccl_version"))
    run.nccl_version = nccl_version_text(code->as_integer(0, 10'000'000));
  if (const auto args = root.optional("args"); args && args->is_array() && !args->json().empty())
    run.program = args->as_array(1, 100'000).front().as_string(true);
  if (run.program.empty()) run.program = settings.require_text("op", log.name, "all_reduce");
  run.op = collective_named(run.program);
  JsonObject config(root.require("config"));
  read_devices(config.require("devices"), run);
  if (const auto errors = root.optional("errors"); errors && errors->is_array() && !errors->json().empty())
    imported.damaged(errors->error("the run failed", "repeat it, or keep what is there with --keep-good"));
  for (const JsonReader& place : root.require("results").as_array(0, kRowsMax)) {
    try {
      read_result(place, run, log, imported);
    } catch (const Error& error) {
      imported.damaged(error);
    }
  }
}

}  // namespace foretoken::calibrate
