// What a GPU costs and draws, as users state it; and what a token comes to.
#pragma once

#include <string>
#include <string_view>

namespace foretoken::planning {

/// Of a GPU with its share of all that it needs, by the hour.
struct Price {
  double per_hour = 0;
  std::string currency;  // as it was written: "USD"
};

/// "2.50 USD/h": a number, a currency of letters, "/h".
/// @throws Error{invalid_input} if a part is missing (a price without unit is none), or it is negative or absurd
Price read_price(std::string_view text);

/// "700 W" or "0.7 kW": watts of a GPU with its share of host and cooling.
/// @throws Error{invalid_input} as read_price()
double read_watts(std::string_view text);

/// Of a million tokens: price x GPUs / 3600 / TPS x 10^6.
/// Example: 2 per hour, 1,800 tokens per second and GPU: 0.309.
inline double per_million_tokens(const Price& price, double tps_per_gpu) {
  return price.per_hour / 3600 / tps_per_gpu * 1e6;
}

/// Joules of a token: watts x GPUs / TPS.
inline double joules_per_token(double watts, double tps_per_gpu) { return watts / tps_per_gpu; }

}  // namespace foretoken::planning
