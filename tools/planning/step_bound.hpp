// What TPOT is at least, without a simulation.
#pragma once

#include <string>

#include "core/calibration.hpp"
#include "plan/layer_sample.hpp"
#include "plan/machine/machine.hpp"
#include "plan/plan.hpp"

namespace foretoken::planning {

/// A rank's streams do one op after the other, and none is shorter than alone (sim/alone_times.hpp):
///
///   step >= sum over ops of a stream of (time alone x layers that its layer stands for)
///
/// for every rank and stream. In a flushed pipeline the stages before have to be done with one micro-batch before this
/// one can start, and those after have one to do when it ends:
///
///   step >= a micro-batch in each other stage + all of them in this one
///
/// Replicas that share experts go at one pace; of each such group and stage the rank that computes longest is looked
/// at, with the ranks in its place in other stages. Groups do not wait for each other: with s of S sequences each
///
///   TPOT = S / sum over groups of (s / step)
///
/// @param plan of the sample's layers; on GPUs
Seconds least_tpot(const plan::Plan& plan, const plan::LayerSample& sample, const plan::Machine& machine,
                   const Calibration& calibration, const std::string& framework);

}  // namespace foretoken::planning
