// The commands that plan: many simulations for one answer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "tools/cli/evaluation.hpp"

namespace CLI {
class App;
}

namespace foretoken::cli {

struct SweepOptions : EvaluationOptions {
  std::filesystem::path scenario;
  std::vector<std::string> set;   // --set FIELD=VALUE,VALUE,...
  std::int64_t threads = 0;       // --threads; 0: as many as there are cores
  std::filesystem::path journal;  // --journal: where the sweep goes on after a kill
  std::filesystem::path csv;
  std::filesystem::path out;
  bool json = false;
};

struct WhatifOptions : EvaluationOptions {
  std::filesystem::path scenario;
  std::vector<std::string> set;  // --set FIELD=VALUE
  std::filesystem::path out;
  bool json = false;
};

struct RecommendOptions : EvaluationOptions {
  RecommendOptions() { accuracy = 0.01; }  // far within what predictions are off
  std::filesystem::path model;             // a scenario, or another file with a member `model`
  std::filesystem::path cluster;           // a topology
  std::int64_t gpus = 0;
  std::string tpot;                // --tpot: "50ms"; empty: any
  std::optional<double> rate;      // --rate: tokens per second of all GPUs
  std::vector<std::string> set;    // --set, of the model's file
  std::int64_t context = -1;       // --context; -1: the file's, or 1024
  std::string price;               // --price: "2.50 USD/h", of a GPU
  std::string watts;               // --watts: "700 W", of a GPU
  std::int64_t simulations = 200;  // --simulations: at most
  bool exhaustive = false;         // --exhaustive: no bounds
  std::filesystem::path out;
  bool json = false;
};

void run_whatif(const WhatifOptions& options, std::ostream& out, std::ostream& err);
void run_recommend(const RecommendOptions& options, std::ostream& out, std::ostream& err);
void run_sweep(const SweepOptions& options, std::ostream& out, std::ostream& err);

struct PlanningOptions {
  SweepOptions sweep;
  WhatifOptions whatif;
  RecommendOptions recommend;
};

/// Adds them to the command line. Which was given is left in `chosen`, to be called after parsing.
void add_planning_commands(CLI::App& app, PlanningOptions& options, std::function<void()>& chosen, std::ostream& out,
                           std::ostream& err);

}  // namespace foretoken::cli
