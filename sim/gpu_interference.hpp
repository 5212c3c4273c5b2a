// What the kernels of a plan take from one another where they run at one time: SMs by kind of communication, and what
// fewer SMs do to a compute op.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "core/calibration.hpp"
#include "plan/machine/machine.hpp"
#include "plan/plan.hpp"
#include "plan/program/resolve.hpp"
#include "sim/engine/kernel_sharing.hpp"
#include "sim/op_duration.hpp"

namespace foretoken::sim {

/// Whether some rank of the program computes and communicates at one time.
bool overlaps(const plan::Program& program);

/// A compute op that finds `held` of the GPU's SMs taken is an op on a GPU that has so many less:
///
///   speed = t(device) / t(device with sms - held SMs, and peaks x (sms - held) / sms)
///
/// with t of the very cost models that say what ops take alone. So what is bound by arithmetic slows down by
/// sms / (sms - held), what is bound by memory not at all, and what lies between as its roofline says. At least one SM
/// is left, however many are asked for: kernels beyond that would wait for one another.
///
/// Limits: tiles that no longer fit into one wave are not seen; L2's bandwidth stays.
/// Example: 132 SMs, 24 held: a GEMM with math for 10 us and weights for 1 us takes 10 x 132 / 108 = 12.2 us.
class GpuInterference {
 public:
  /// All but `framework` are kept by reference. Precondition: the machine is of GPUs.
  GpuInterference(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
                  std::string framework, plan::RowCounter& rows);
  GpuInterference(const GpuInterference&) = delete;
  GpuInterference& operator=(const GpuInterference&) = delete;

  /// Refers to this object.
  [[nodiscard]] KernelInterference kernels();

  /// SMs that a communication op holds on its rank. A group of one has no kernel.
  [[nodiscard]] std::int64_t sms_of(RankId rank, OpId op) const;
  [[nodiscard]] double speed_of(RankId rank, OpId op, std::int64_t step, std::int64_t held);

 private:
  struct Device {
    Device(const GpuInterference& of, const DeviceSpec& spec)
        : cost(of.calibration_.compute, spec, of.framework_), durations(of.plan_.program, cost, of.rows_) {}
    ComputeCost cost;
    OpDurations durations;
  };
  Device& device_without(std::int64_t held);

  const plan::Plan& plan_;
  const plan::Machine& machine_;
  const Calibration& calibration_;
  std::string framework_;
  plan::RowCounter& rows_;
  std::map<std::int64_t, std::unique_ptr<Device>> devices_;  // by SMs that are held
};

}  // namespace foretoken::sim
