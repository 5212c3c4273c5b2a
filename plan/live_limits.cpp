#include "plan/live_limits.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace foretoken::plan {

void require_live_model(const Plan& plan) {
  const ModelSpec& model = plan.scenario.model;
  const auto refuse = [&](bool has, const char* what) {
    if (has)
      throw Error(
          ErrorCode::invalid_input,
          fmt::format("{}: {}, which can be planned and simulated, but not run live yet; choose a model without",
                      plan.scenario.name, what));
  };
  refuse(model.latent.has_value(), "the model has latent attention (model.latent)");
  refuse(model.window.has_value(), "the model has windowed attention (model.window)");
  refuse(model.vocabulary > 0, "the model has an embedding and an LM head (model.vocabulary)");
  refuse(model.moe_every > 1, "experts are in some layers only (model.moe_every)");
  refuse(model.expert_format != WeightFormat{model.weight_dtype, Packing::none},
         "experts have a dtype of their own (model.dtype.experts)");
  refuse(model.dispatch_dtype != model.activation_dtype,
         "tokens are dispatched in a dtype of their own (model.dtype.dispatch)");
}

}  // namespace foretoken::plan
