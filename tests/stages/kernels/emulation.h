// CUDA's names for a processor: kernels.cu compiled by g++, every thread of a launch after the other.
// It shows the arithmetic. It cannot show races, alignment, occupancy or what nvcc makes of it.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstring>
#include <tuple>
#define __global__
#define __device__
struct Index { unsigned x, y, z; };
static thread_local Index blockIdx, threadIdx, blockDim, gridDim;

// One argument from a launch's parameter buffer, aligned as CUDA aligns it.
template <class T> static T take(const char*& at, const char* base)
{
    size_t offset = (at - base + alignof(T) - 1) / alignof(T) * alignof(T);
    T value;
    memcpy(&value, base + offset, sizeof value);
    at = base + offset + sizeof value;
    return value;
}

template <class... A>
static void launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, const void* buffer)
{
    const char *base = (const char*)buffer, *at = base;
    std::tuple<A...> arguments{take<A>(at, base)...};
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    for (unsigned gz = 0; gz < grid[2]; gz++)
    for (unsigned gy = 0; gy < grid[1]; gy++)
    for (unsigned gx = 0; gx < grid[0]; gx++) {
        blockIdx = {gx, gy, gz};
        for (unsigned z = 0; z < block[2]; z++)
        for (unsigned y = 0; y < block[1]; y++)
        for (unsigned x = 0; x < block[0]; x++) {
            threadIdx = {x, y, z};
            std::apply(kernel, arguments);
        }
    }
}

#define EMULATED(name) \
    extern "C" void emu_##name(const unsigned* grid, const unsigned* block, const void* buffer) \
    { launch(name, grid, block, buffer); }
