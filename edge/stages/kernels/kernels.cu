// Kernels for frames that are on the GPU. One thread writes one output and no block shares memory,
// so that tests run the same source on a processor (tests/stages/kernels/emulation.h).
// Pictures are (h, w, 3) uint8 BGR, rows `pitch` bytes apart.
// Compiled by packaging/kernels, with -fmad=false: a fused product would round otherwise than cv2.

// One axis of cv2's INTER_LINEAR for bytes (OpenCV, modules/imgproc/src/resize.cpp): pixel `at` stands
// for `scale` source pixels. Returns the first of two source pixels, -1 before the edge; weight is the
// second's, of 2048. cv2 takes doubles here; most GPUs are slow at them, so the host divides.
__device__ static int source(int at, double scale, int* weight)
{
    float where = (float)((at + 0.5) * scale - 0.5);
    int first = (int)floorf(where);
    *weight = (int)rintf((where - (float)first) * 2048.0f);
    return first;
}

__device__ static int inside(int at, int limit)
{
    return at < 0 ? 0 : at < limit ? at : limit - 1;
}

// One channel of pixel (x, y) when a picture of w x h is drawn with x_scale and y_scale, with the
// roundings of cv2: they differ between the axes.
__device__ static unsigned char resized(const unsigned char* picture, size_t pitch, int w, int h,
                                        int x, int y, double x_scale, double y_scale, int channel)
{
    int wx, wy, left = source(x, x_scale, &wx), top = source(y, y_scale, &wy);
    if (left < 0 || left >= w - 1) wx = 0;
    const unsigned char* first = picture + 3 * (size_t)inside(left, w) + channel;
    size_t right = wx ? 3 : 0;
    const unsigned char* a = first + inside(top, h) * pitch;
    const unsigned char* b = first + inside(top + 1, h) * pitch;
    int above = a[0] * (2048 - wx) + a[right] * wx;
    int below = b[0] * (2048 - wx) + b[right] * wx;
    return (unsigned char)(((((2048 - wy) * (above >> 4)) >> 16) + ((wy * (below >> 4)) >> 16) + 2) >> 2);
}

// letterbox: src (w x h) at the upper left of dst (out_w x out_h, dense), used_w x used_h of it; the
// rest is `pad`. One thread a pixel of dst.
extern "C" __global__ void letterbox(const unsigned char* src, size_t pitch, int w, int h,
                                     unsigned char* dst, int out_w, int out_h,
                                     int used_w, int used_h, int pad,
                                     double x_scale, double y_scale)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= out_w || y >= out_h) return;
    unsigned char* to = dst + ((size_t)y * out_w + x) * 3;
    bool used = x < used_w && y < used_h;
    for (int c = 0; c < 3; c++)
        to[c] = used ? resized(src, pitch, w, h, x, y, x_scale, y_scale, c) : (unsigned char)pad;
}

// cells_grid: the mean of 8 x 8 samples of each cell of an area, to the nearest of 16 levels.
// grid (down, across, 3). One thread a cell and channel; the area is (x1, y1) and w x h.
extern "C" __global__ void cells_grid(const unsigned char* picture, size_t pitch, int x1, int y1,
                                      int w, int h, unsigned char* grid, int across, int down,
                                      double x_scale, double y_scale)
{
    int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= across * down * 3) return;
    int channel = n % 3, column = n / 3 % across, row = n / 3 / across, total = 0;
    const unsigned char* area = picture + y1 * pitch + 3 * (size_t)x1;
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 8; x++)
            total += resized(area, pitch, w, h, column * 8 + x, row * 8 + y, x_scale, y_scale, channel);
    grid[n] = (unsigned char)(((int)rintf(total / 64.0f) + 8) / 17 * 17);
}

// cells_draw: the grid over the area, one colour flowing into the next. One thread a pixel.
extern "C" __global__ void cells_draw(unsigned char* picture, size_t pitch, int x1, int y1,
                                      int w, int h, const unsigned char* grid, int across, int down,
                                      double x_scale, double y_scale)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    unsigned char* to = picture + (y1 + y) * pitch + 3 * (size_t)(x1 + x);
    for (int c = 0; c < 3; c++)
        to[c] = resized(grid, 3 * (size_t)across, across, down, x, y, x_scale, y_scale, c);
}

// fill: one colour over the area. One thread a pixel.
extern "C" __global__ void fill(unsigned char* picture, size_t pitch, int x1, int y1,
                                int w, int h, int blue, int green, int red)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    unsigned char* to = picture + (y1 + y) * pitch + 3 * (size_t)(x1 + x);
    to[0] = (unsigned char)blue; to[1] = (unsigned char)green; to[2] = (unsigned char)red;
}
