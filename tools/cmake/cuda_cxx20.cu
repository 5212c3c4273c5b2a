// Configure-time check: nvcc compiles this as C++20, host and device.
static_assert(__cplusplus >= 202002L, "CUDA sources must be compiled as C++20");

__global__ void nothing() {}

int main() { return 0; }
