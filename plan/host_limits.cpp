#include "plan/host_limits.hpp"

#include <fmt/format.h>

#include "core/error.hpp"
#include "plan/live_limits.hpp"

namespace foretoken::plan {

void require_host_can_run(const Plan& plan) {
  if (plan.scenario.execution)
    throw input_error(plan.scenario.file, "/execution", "says how a GPU's kernels are launched, and this is a host",
                      "remove it, or choose a topology of GPUs");
  require_live_model(plan);
  const ModelSpec& model = plan.scenario.model;
  for (const DType dtype : {model.weight_dtype, model.activation_dtype, model.kv_dtype}) {
    if (dtype == DType::fp32) continue;
    throw Error(ErrorCode::invalid_input,
                fmt::format("{}: the host computes in fp32, and this scenario says {}; run it with --set "
                            "'model.dtype={{\"weights\":\"fp32\"}}'",
                            plan.scenario.name, foretoken::name_of(dtype)));
  }
}

}  // namespace foretoken::plan
