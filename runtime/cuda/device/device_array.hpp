// Arrays in device memory, and in the host's where a device writes them by itself. They free themselves.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "runtime/cuda/device/cuda_check.hpp"

namespace foretoken::runtime::cuda {

template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  /// Uninitialised. @throws Error{rank_failed} if the memory is not there
  explicit DeviceArray(std::size_t count) : count_(count) {
    if (count == 0) return;
    void* data = nullptr;
    check_cuda(cudaMalloc(&data, count * sizeof(T)), "cudaMalloc");
    data_ = static_cast<T*>(data);
  }
  /// A copy of what the host has.
  explicit DeviceArray(std::span<const T> values) : DeviceArray(values.size()) {
    if (!values.empty())
      check_cuda(cudaMemcpy(data_, values.data(), values.size_bytes(), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~DeviceArray() {
    if (data_ != nullptr) cudaFree(data_);
  }
  DeviceArray(DeviceArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return count_; }
  /// Waits for the device.
  [[nodiscard]] std::vector<T> read() const {
    std::vector<T> values(count_);
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    if (count_ > 0)
      check_cuda(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

/// An array of the host that copies of a stream can reach.
template <class T>
class PinnedArray {
 public:
  PinnedArray() = default;
  /// Uninitialised. @throws Error{rank_failed} if the memory is not there
  explicit PinnedArray(std::size_t count) : count_(count) {
    if (count == 0) return;
    void* data = nullptr;
    check_cuda(cudaMallocHost(&data, count * sizeof(T)), "cudaMallocHost");
    data_ = static_cast<T*>(data);
  }
  ~PinnedArray() {
    if (data_ != nullptr) cudaFreeHost(data_);
  }
  PinnedArray(PinnedArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  PinnedArray& operator=(PinnedArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace foretoken::runtime::cuda
