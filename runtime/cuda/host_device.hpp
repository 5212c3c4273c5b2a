// Marks a function that kernels and the host call alike, so that tests on the host test what the kernels do.
#pragma once

#ifdef __CUDACC__
#define FORETOKEN_HOST_DEVICE __host__ __device__
#else
#define FORETOKEN_HOST_DEVICE
#endif
