// What PyNvVideoCodec needs of a CUDA driver besides fake.c: contexts of its own, and planes.
#include <cuda.h>
#include <stdlib.h>
#include <string.h>

CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
    *context = (CUcontext)0x1234;
    return cuCtxPushCurrent(*context);
}
CUresult cuCtxDestroy(CUcontext context) { return 0; }
CUresult cuStreamGetCtx(CUstream stream, CUcontext *context) { *context = (CUcontext)0x1234; return 0; }
CUresult cuPointerGetAttribute(void *data, CUpointer_attribute what, CUdeviceptr at) { return 801; }
CUresult cuMemAllocAsync(CUdeviceptr *at, size_t size, CUstream stream) {
    *at = (CUdeviceptr)malloc(size);
    return 0;
}
CUresult cuMemFreeAsync(CUdeviceptr at, CUstream stream) { free((void *)at); return 0; }

CUresult cuMemcpy2D(const CUDA_MEMCPY2D *m) {
    int from_host = m->srcMemoryType == CU_MEMORYTYPE_HOST;
    int to_host = m->dstMemoryType == CU_MEMORYTYPE_HOST;
    const char *from = from_host ? m->srcHost : (const char *)m->srcDevice;
    char *to = to_host ? m->dstHost : (char *)m->dstDevice;
    for (size_t y = 0; y < m->Height; y++)
        memcpy(to + (m->dstY + y) * m->dstPitch + m->dstXInBytes,
               from + (m->srcY + y) * m->srcPitch + m->srcXInBytes, m->WidthInBytes);
    return 0;
}
CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D *m, CUstream stream) { return cuMemcpy2D(m); }
