#include "runtime/cuda/device/nvml.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "runtime/cuda/device/loaded_library.hpp"

namespace foretoken::runtime::cuda {
namespace {

// The toolkit's packages need not bring nvml.h. What follows are the few parts of its interface that are used here,
// which NVIDIA keeps stable: all functions return 0 for success, and a device is an opaque pointer.
constexpr int kSuccess = 0;
constexpr int kClockSm = 1;         // NVML_CLOCK_SM
constexpr int kTemperatureGpu = 0;  // NVML_TEMPERATURE_GPU
constexpr std::chrono::milliseconds kBetweenSamples{50};

// nvmlClocksThrottleReason…; idle (1) and applications' clocks (2) are left out, as they slow nothing under load.
constexpr std::array<std::pair<std::uint64_t, const char*>, 6> kReasons{{{0x4, "power cap"},
                                                                         {0x8, "hardware slowdown"},
                                                                         {0x10, "sync boost"},
                                                                         {0x20, "thermal slowdown"},
                                                                         {0x40, "hardware thermal slowdown"},
                                                                         {0x80, "power brake"}}};

}  // namespace

struct ConditionSampler::Library {
  int (*init)() = nullptr;
  int (*by_pci)(const char*, void**) = nullptr;
  int (*clock)(void*, int, unsigned*) = nullptr;
  int (*power)(void*, unsigned*) = nullptr;
  int (*temperature)(void*, int, unsigned*) = nullptr;
  int (*reasons)(void*, unsigned long long*) = nullptr;

  // Null if it is not there.
  static const Library* get() {
    static const std::unique_ptr<Library> library = load();
    return library.get();
  }

 private:
  static std::unique_ptr<Library> load() {
    void* const loaded = open_optional_library("libnvidia-ml.so.1");
    if (loaded == nullptr) return nullptr;
    auto library = std::make_unique<Library>();
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(find_optional_address(loaded, name));
      return function != nullptr;
    };
    const bool whole =
        find(library->init, "nvmlInit_v2") && find(library->by_pci, "nvmlDeviceGetHandleByPciBusId_v2") &&
        find(library->clock, "nvmlDeviceGetClockInfo") && find(library->power, "nvmlDeviceGetPowerUsage") &&
        find(library->temperature, "nvmlDeviceGetTemperature") &&
        find(library->reasons, "nvmlDeviceGetCurrentClocksThrottleReasons");
    if (!whole || library->init() != kSuccess) return nullptr;
    return library;
  }
};

ConditionSampler::ConditionSampler(const std::string& pci) : library_(Library::get()) {
  if (library_ != nullptr && library_->by_pci(pci.c_str(), &device_) != kSuccess) library_ = nullptr;
}

void ConditionSampler::sample() {
  const auto now = std::chrono::steady_clock::now();
  if (library_ == nullptr || (conditions_.samples > 0 && now - last_ < kBetweenSamples)) return;
  unsigned clock = 0;
  unsigned milliwatts = 0;
  unsigned celsius = 0;
  unsigned long long reasons = 0;
  if (library_->clock(device_, kClockSm, &clock) != kSuccess || library_->power(device_, &milliwatts) != kSuccess ||
      library_->temperature(device_, kTemperatureGpu, &celsius) != kSuccess ||
      library_->reasons(device_, &reasons) != kSuccess)
    return;
  last_ = now;
  const auto mhz = static_cast<std::int64_t>(clock);
  conditions_.sm_clock_mhz_min = conditions_.samples == 0 ? mhz : std::min(conditions_.sm_clock_mhz_min, mhz);
  conditions_.sm_clock_mhz_max = std::max(conditions_.sm_clock_mhz_max, mhz);
  conditions_.temperature_celsius_max =
      std::max(conditions_.temperature_celsius_max, static_cast<std::int64_t>(celsius));
  power_sum_ += milliwatts / 1e3;
  reasons_ |= reasons;
  ++conditions_.samples;
}

GpuConditions ConditionSampler::conditions() const {
  GpuConditions conditions = conditions_;
  if (conditions.samples > 0) conditions.power_watts_mean = power_sum_ / static_cast<double>(conditions.samples);
  for (const auto& [bit, name] : kReasons)
    if ((reasons_ & bit) != 0) conditions.throttled.emplace_back(name);
  return conditions;
}

}  // namespace foretoken::runtime::cuda
