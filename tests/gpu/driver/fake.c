// A CUDA driver for tests: host memory is "device" memory and every operation is done at once, but
// an event can be told to come late or never, calls can be told to fail, and memory to be short.
// What it cannot show is written down in ../README.md.
#define _GNU_SOURCE
#include <cuda.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// ---- what a test steers and reads -------------------------------------------------------------
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char failing[64];        // the call that fails
static int failing_after = -1;  // after so many of it went well
static int failing_code, failing_times;
static int dead;                // code of a sticky error: every later call returns it
static double latency;          // milliseconds until an event is reached
static int hung;                // events are never reached
static int deaf;                // copies to the host are forgotten
static int lazy;                // copies to the GPU are forgotten
static size_t limit = (size_t)8 << 30, in_use;

enum { DEVICE, PINNED, STREAMS, EVENTS, GRAPHS, RETAINED, KINDS };
static long live[KINDS];
static long launches, captures, copies;
static __thread int depth;      // contexts on this thread's stack

void fake_fail(const char *call, int after, int code, int times) {
    pthread_mutex_lock(&lock);
    snprintf(failing, sizeof failing, "%s", call);
    failing_after = after, failing_code = code, failing_times = times;
    pthread_mutex_unlock(&lock);
}
void fake_reset(void) {
    failing_after = -1, dead = 0, latency = 0, hung = 0, deaf = 0, lazy = 0, limit = (size_t)8 << 30;
    launches = captures = copies = 0;
}
void fake_latency(double milliseconds) { latency = milliseconds; }
void fake_hang(int on) { hung = on; }
void fake_deaf(int on) { deaf = on; }
void fake_lazy(int on) { lazy = on; }
void fake_memory(size_t bytes) { limit = bytes; }
size_t fake_in_use(void) { return in_use; }
long fake_live(int kind) { return live[kind]; }
long fake_launches(void) { return launches; }
long fake_captures(void) { return captures; }
long fake_copies(void) { return copies; }
int fake_depth(void) { return depth; }

static int is_sticky(int code) {
    return code == 214 || code == 220 || code == 226 || code == 700 || code == 702 ||
           code == 710 || (code >= 714 && code <= 719) || code == 721 || code == 911 || code == 999;
}
static CUresult outcome(const char *call) {
    int result = dead;
    pthread_mutex_lock(&lock);
    if (!result && failing_after >= 0 && !strcmp(call, failing)) {
        if (failing_after > 0) failing_after--;
        else {
            result = failing_code;
            if (failing_times > 0 && --failing_times == 0) failing_after = -1;
            if (is_sticky(result)) dead = result;
        }
    }
    pthread_mutex_unlock(&lock);
    return (CUresult)result;
}
#define TRY do { CUresult r = outcome(__func__); if (r) return r; } while (0)
#define NEED do { if (!depth) return CUDA_ERROR_INVALID_CONTEXT; TRY; } while (0)

// ---- memory: every range is known, and nothing reaches outside of it -----------------------------
typedef struct range { char *start; size_t size; int kind; struct range *next; } range;
static range *ranges;

static CUresult take(void **out, size_t size, int kind) {
    void *start;
    if (!size) return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    int full = kind == DEVICE && in_use + size > limit;
    if (!full && kind == DEVICE) in_use += size;
    pthread_mutex_unlock(&lock);
    if (full || posix_memalign(&start, 4096, size)) return CUDA_ERROR_OUT_OF_MEMORY;
    memset(start, 0xCD, size);  // what nobody wrote is not 0
    range *r = malloc(sizeof *r);
    *r = (range){start, size, kind, 0};
    pthread_mutex_lock(&lock);
    r->next = ranges, ranges = r, live[kind]++;
    pthread_mutex_unlock(&lock);
    *out = start;
    return CUDA_SUCCESS;
}
static CUresult give(void *start, int kind) {
    pthread_mutex_lock(&lock);
    for (range **at = &ranges; *at; at = &(*at)->next) {
        range *r = *at;
        if (r->start != start || r->kind != kind) continue;
        *at = r->next, live[kind]--;
        if (kind == DEVICE) in_use -= r->size;
        pthread_mutex_unlock(&lock);
        free(r->start), free(r);
        return CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&lock);
    return CUDA_ERROR_INVALID_VALUE;
}
static int inside(const void *start, size_t size, int kind) {
    int found = 0;
    pthread_mutex_lock(&lock);
    for (range *r = ranges; r; r = r->next)
        found |= (kind < 0 || r->kind == kind) && (char *)start >= r->start &&
                 (char *)start + size <= r->start + r->size;
    pthread_mutex_unlock(&lock);
    return found;
}
static CUresult stray(void) { return dead = CUDA_ERROR_ILLEGAL_ADDRESS; }

CUresult cuMemGetInfo(size_t *f, size_t *t) { NEED; *t = limit; *f = limit - in_use; return 0; }
static __thread int capturing;
CUresult cuMemAlloc(CUdeviceptr *p, size_t n) {
    NEED;
    if (capturing) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    return take((void **)p, n, DEVICE);
}
CUresult cuMemFree(CUdeviceptr p) { NEED; return give((void *)p, DEVICE); }
CUresult cuMemHostAlloc(void **p, size_t n, unsigned f) { NEED; return take(p, n, PINNED); }
CUresult cuMemFreeHost(void *p) { NEED; return give(p, PINNED); }
CUresult cuMemHostGetDevicePointer(CUdeviceptr *d, void *p, unsigned f) {
    NEED;
    if (!inside(p, 1, PINNED)) return CUDA_ERROR_INVALID_VALUE;
    *d = (CUdeviceptr)p;
    return 0;
}

// ---- streams, events, capture ---------------------------------------------------------------------
typedef struct op {
    enum { COPY, SET, CALL } kind;
    void *to; const void *from; size_t size; unsigned char value;
    CUhostFn call; void *data;
    struct op *next;
} op;
typedef struct { op *first, **last; } record;
struct CUstream_st { record *recording; int broken; };
struct CUevent_st { double due; int recorded; };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}
static CUresult perform(op *o) {
    if (o->kind == CALL) { o->call(o->data); return 0; }
    if (o->kind == SET) {
        if (!inside(o->to, o->size, DEVICE)) return stray();
        memset(o->to, o->value, o->size);
        return 0;
    }
    if (deaf && inside(o->to, o->size, PINNED)) return 0;
    if (lazy && inside(o->to, o->size, DEVICE)) return 0;
    copies++;
    memmove(o->to, o->from, o->size);
    return 0;
}
static CUresult enqueue(CUstream s, op o) {
    if (!s) return CUDA_ERROR_INVALID_HANDLE;  // the tests' code has no business on stream 0
    if (!s->recording) return perform(&o);
    op *kept = malloc(sizeof *kept);
    *kept = o, kept->next = 0;
    *s->recording->last = kept, s->recording->last = &kept->next;
    return 0;
}
CUresult cuStreamCreate(CUstream *s, unsigned f) {
    NEED;
    *s = calloc(1, sizeof **s);
    __sync_fetch_and_add(&live[STREAMS], 1);
    return 0;
}
CUresult cuStreamDestroy(CUstream s) {
    NEED;
    free(s);
    __sync_fetch_and_sub(&live[STREAMS], 1);
    return 0;
}
CUresult cuStreamQuery(CUstream s) {
    NEED;
    if (s && s->recording) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    return hung ? CUDA_ERROR_NOT_READY : 0;
}
CUresult cuStreamSynchronize(CUstream s) {
    NEED;
    if (s && s->recording) { s->broken = 1; return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED; }
    while (hung) nanosleep(&(struct timespec){0, 1000000}, 0);
    return 0;
}
CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned f) { NEED; return 0; }
CUresult cuStreamBeginCapture(CUstream s, CUstreamCaptureMode m) {
    NEED;
    if (!s || s->recording) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    s->recording = calloc(1, sizeof(record));
    s->recording->last = &s->recording->first;
    s->broken = 0, capturing = 1, captures++;
    return 0;
}
CUresult cuStreamEndCapture(CUstream s, CUgraph *g) {
    CUresult result = outcome(__func__);
    record *r = s->recording;
    s->recording = 0, capturing = 0, *g = 0;  // it ends, whatever came of it
    if (!r) return 901;
    if (!result && s->broken) result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (result) { free(r); return result; }
    *g = (CUgraph)r;
    __sync_fetch_and_add(&live[GRAPHS], 1);
    return 0;
}
int fake_capturing(CUstream s) { return s && s->recording; }
// The record is shared by graph and executable, and outlives both: a test's few bytes.
CUresult cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long f) {
    NEED;
    *e = (CUgraphExec)g;
    __sync_fetch_and_add(&live[GRAPHS], 1);
    return 0;
}
CUresult cuGraphLaunch(CUgraphExec e, CUstream s) {
    NEED;
    launches++;
    for (op *o = ((record *)e)->first; o; o = o->next) {
        CUresult r = perform(o);
        if (r) return r;
    }
    return dead;
}
CUresult cuGraphExecDestroy(CUgraphExec e) { __sync_fetch_and_sub(&live[GRAPHS], 1); return 0; }
CUresult cuGraphDestroy(CUgraph g) { __sync_fetch_and_sub(&live[GRAPHS], 1); return 0; }

CUresult cuEventCreate(CUevent *e, unsigned f) {
    NEED;
    *e = calloc(1, sizeof **e);
    __sync_fetch_and_add(&live[EVENTS], 1);
    return 0;
}
CUresult cuEventDestroy(CUevent e) {
    NEED;
    free(e);
    __sync_fetch_and_sub(&live[EVENTS], 1);
    return 0;
}
CUresult cuEventRecord(CUevent e, CUstream s) { NEED; e->due = now() + latency; return 0; }
CUresult cuEventQuery(CUevent e) {
    NEED;
    return hung || now() < e->due ? CUDA_ERROR_NOT_READY : 0;
}
CUresult cuEventSynchronize(CUevent e) {
    NEED;
    while (hung || now() < e->due) nanosleep(&(struct timespec){0, 100000}, 0);
    return dead;
}
CUresult cuEventElapsedTime(float *m, CUevent a, CUevent b) { NEED; *m = b->due - a->due; return 0; }

// ---- copies, and what a library puts on a stream ---------------------------------------------------
CUresult cuMemcpyHtoDAsync(CUdeviceptr d, const void *s, size_t n, CUstream t) {
    NEED;
    if (!inside((void *)d, n, DEVICE)) return stray();
    if (t && t->recording && !inside(s, n, PINNED)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    return enqueue(t, (op){.kind = COPY, .to = (void *)d, .from = s, .size = n});
}
CUresult cuMemcpyDtoHAsync(void *d, CUdeviceptr s, size_t n, CUstream t) {
    NEED;
    if (!inside((void *)s, n, DEVICE)) return stray();
    if (t && t->recording && !inside(d, n, PINNED)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    return enqueue(t, (op){.kind = COPY, .to = d, .from = (void *)s, .size = n});
}
CUresult cuMemcpyHtoD(CUdeviceptr d, const void *s, size_t n) {
    NEED;
    if (!inside((void *)d, n, DEVICE)) return stray();
    memcpy((void *)d, s, n);
    return 0;
}
CUresult cuMemcpyDtoH(void *d, CUdeviceptr s, size_t n) {
    NEED;
    if (!inside((void *)s, n, DEVICE)) return stray();
    memcpy(d, (void *)s, n);
    return 0;
}
CUresult cuMemsetD8Async(CUdeviceptr d, unsigned char c, size_t n, CUstream s) {
    NEED;
    return enqueue(s, (op){.kind = SET, .to = (void *)d, .value = c, .size = n});
}
CUresult cuLaunchHostFunc(CUstream s, CUhostFn f, void *data) {
    NEED;
    return enqueue(s, (op){.kind = CALL, .call = f, .data = data});
}
int fake_reachable(const void *start, size_t size) { return inside(start, size, -1); }

// ---- device and contexts ---------------------------------------------------------------------------
static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}
CUresult cuInit(unsigned f) {
    return number("FAKE_CUDA_DEVICES", 1) ? number("FAKE_CUDA_INIT", 0) : CUDA_ERROR_NO_DEVICE;
}
CUresult cuDriverGetVersion(int *v) { *v = number("FAKE_CUDA_VERSION", 13000); return 0; }
CUresult cuDeviceGetCount(int *n) { *n = number("FAKE_CUDA_DEVICES", 1); return 0; }
CUresult cuDeviceGet(CUdevice *d, int i) {
    *d = i;
    return i < number("FAKE_CUDA_DEVICES", 1) ? 0 : CUDA_ERROR_INVALID_DEVICE;
}
CUresult cuDeviceGetName(char *n, int l, CUdevice d) {
    snprintf(n, l, "Fake GPU (host memory)");
    return 0;
}
CUresult cuDeviceTotalMem(size_t *b, CUdevice d) { *b = limit; return 0; }
CUresult cuDeviceComputeCapability(int *a, int *b, CUdevice d) { *a = 8, *b = 7; return 0; }
CUresult cuDeviceGetAttribute(int *p, CUdevice_attribute a, CUdevice d) {
    *p = a == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? 8
         : a == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? 7
         : a == CU_DEVICE_ATTRIBUTE_INTEGRATED               ? number("FAKE_CUDA_INTEGRATED", 0)
         : a == CU_DEVICE_ATTRIBUTE_WARP_SIZE                ? 32
                                                             : 1024;
    return 0;
}
CUresult cuDeviceGetPCIBusId(char *p, int l, CUdevice d) { snprintf(p, l, "0000:00:00.0"); return 0; }
static __thread CUcontext stack[64];
CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) {
    TRY;
    *c = (CUcontext)0x1000;
    __sync_fetch_and_add(&live[RETAINED], 1);
    return 0;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice d) {
    __sync_fetch_and_sub(&live[RETAINED], 1);
    return 0;
}
CUresult cuCtxPushCurrent(CUcontext c) { stack[depth++] = c; return 0; }
CUresult cuCtxPopCurrent(CUcontext *c) {
    if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
    depth--;
    if (c) *c = stack[depth];
    return 0;
}
CUresult cuCtxGetDevice(CUdevice *d) { NEED; *d = 0; return 0; }
CUresult cuCtxSynchronize(void) { NEED; return 0; }
CUresult cuGetErrorString(CUresult e, const char **s) {
    static __thread char text[64];
    snprintf(text, sizeof text, e == 2 ? "out of memory" : "fake text of error %d", e);
    *s = text;
    return 0;
}
CUresult cuGetErrorName(CUresult e, const char **s) { return cuGetErrorString(e, s); }
