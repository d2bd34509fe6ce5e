// libnvcuvid.so.1 for tests: no decoder, but one who knows what each packet shows.
//
// FAKE_NVCUVID names a file of records: FNV-1a of a packet (8 bytes), width and height (4 each), and
// the picture as NV12. A packet that is not in it is a fault of the stream. FAKE_NVCUVID_FAIL=n lets
// the n-th picture fail. Layouts are those of the Video Codec SDK's interface, 64 bits.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int codec;
    unsigned rate[2];
    unsigned char progressive, luma_minus_8, chroma_minus_8, surfaces;
    unsigned coded_width, coded_height;
    int left, top, right, bottom, chroma;
    unsigned bitrate;
    int aspect[2];
    unsigned char signal[4];
    unsigned more, rest[256];
} format;
typedef struct { int index, progressive, top_first, repeat; int64_t time; } shown;
typedef struct {
    int codec;
    unsigned surfaces, clock, errors, delay, bits, reserved[4];
    void *user;
    int (*sequence)(void *, format *);
    int (*decode)(void *, int *);
    int (*display)(void *, shown *);
    void *more[8];
} parser_options;
typedef struct { unsigned long flags, size; const unsigned char *data; int64_t time; } packet;
typedef struct {
    unsigned long width, height, surfaces;
    int codec, chroma;
    unsigned long flags, depth, intra, most_width, most_height, reserved;
    short area[4];
    int output, deinterlace;
    unsigned long target_width, target_height;
} decoder_options;
typedef struct {
    int codec, chroma;
    unsigned depth, reserved[3];
    unsigned char supported, count;
    unsigned short outputs;
    unsigned most_width, most_height, most_blocks;
    unsigned short least_width, least_height;
} abilities;
typedef struct { uint64_t hash; uint32_t width, height; unsigned char planes[]; } record;
typedef struct { parser_options with; unsigned width, height; int next, waiting; shown queue[8]; } parser;
typedef struct { decoder_options with; const record *surface[32]; } decoder;

static const record *coming;  // what the packet in hand shows
static int pictures;

static const record *find(uint64_t hash) {
    static char *start, *end;
    if (!start) {
        FILE *file = fopen(getenv("FAKE_NVCUVID"), "rb");
        if (!file) return 0;
        fseek(file, 0, SEEK_END);
        long size = ftell(file);
        rewind(file);
        start = malloc(size);
        end = start + fread(start, 1, size, file);
        fclose(file);
    }
    for (char *at = start; at < end;) {
        record *r = (record *)at;
        if (r->hash == hash) return r;
        at += sizeof *r + (size_t)r->width * r->height * 3 / 2;
    }
    return 0;
}

int cuvidGetDecoderCaps(abilities *of) {
    of->supported = of->codec == 4 || of->codec == 8;
    of->count = 1, of->outputs = 3;
    of->most_width = of->most_height = 4096, of->most_blocks = 65536;
    of->least_width = 48, of->least_height = 16;
    return 0;
}
int cuvidCreateDecoder(decoder **out, const decoder_options *with) {
    *out = calloc(1, sizeof **out);
    (*out)->with = *with;
    return 0;
}
int cuvidDestroyDecoder(decoder *d) { free(d); return 0; }
int cuvidDecodePicture(decoder *d, const int *picture) {
    const char *fail = getenv("FAKE_NVCUVID_FAIL");
    d->surface[picture[2]] = coming;
    return fail && ++pictures == atoi(fail) ? 999 : 0;
}
int cuvidGetDecodeStatus(decoder *d, int index, int *status) { *status = 2; return 0; }
// The pictures keep the size that they are scaled to, as on a GPU.
int cuvidReconfigureDecoder(decoder *d, const void *to) { return 0; }
int cuvidMapVideoFrame64(decoder *d, int index, uint64_t *at, unsigned *pitch, const void *how) {
    const record *r = d->surface[index];
    unsigned width = d->with.target_width, height = d->with.target_height;
    *pitch = (width + 511) / 512 * 512;
    unsigned char *surface = malloc((size_t)*pitch * height * 3 / 2);
    memset(surface, 0xEE, (size_t)*pitch * height * 3 / 2);
    unsigned columns = r->width < width ? r->width : width;
    unsigned rows = r->height < height ? r->height : height;
    for (unsigned y = 0; y < rows; y++)
        memcpy(surface + (size_t)y * *pitch, r->planes + (size_t)y * r->width, columns);
    for (unsigned y = 0; y < rows / 2; y++)
        memcpy(surface + (size_t)(height + y) * *pitch,
               r->planes + (size_t)(r->height + y) * r->width, columns);
    *at = (uint64_t)surface;
    return 0;
}
int cuvidUnmapVideoFrame64(decoder *d, uint64_t at) { free((void *)at); return 0; }

int cuvidCreateVideoParser(parser **out, const parser_options *with) {
    *out = calloc(1, sizeof **out);
    (*out)->with = *with;
    return 0;
}
int cuvidDestroyVideoParser(parser *p) { free(p); return 0; }
static int show(parser *p) {
    shown first = p->queue[0];
    memmove(p->queue, p->queue + 1, --p->waiting * sizeof *p->queue);
    return p->with.display(p->with.user, &first);
}
static int begin(parser *p, const record *r) {
    format f = {.codec = p->with.codec, .progressive = 1, .surfaces = 4, .chroma = 1};
    while (p->waiting)
        if (!show(p)) return 0;
    p->width = f.right = r->width, p->height = f.bottom = r->height;
    f.coded_width = (r->width + 15) / 16 * 16, f.coded_height = (r->height + 15) / 16 * 16;
    return p->with.sequence(p->with.user, &f);
}
int cuvidParseVideoData(parser *p, const packet *in) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (unsigned long i = 0; i < in->size; i++) hash = (hash ^ in->data[i]) * 0x100000001b3u;
    if (in->size) {
        const record *r = find(hash);
        if (!r) return 999;
        if ((r->width != p->width || r->height != p->height) && !begin(p, r)) return 999;
        int *picture = calloc(4096, sizeof *picture);
        picture[2] = p->next, coming = r;
        int went_well = p->with.decode(p->with.user, picture);
        free(picture);
        if (!went_well) return 999;
        p->queue[p->waiting++] = (shown){.index = p->next, .progressive = 1, .time = in->time};
        p->next = (p->next + 1) % 4;
    }
    while (p->waiting > (in->flags & 1 ? 0 : (int)p->with.delay))
        if (!show(p)) return 999;
    return 0;
}

int cuvidCtxLockCreate(void **lock, void *context) { *lock = (void *)1; return 0; }
int cuvidCtxLockDestroy(void *lock) { return 0; }
int cuvidCtxLock(void *lock, unsigned flags) { return 0; }
int cuvidCtxUnlock(void *lock, unsigned flags) { return 0; }
#define LACKS(name) int name(void) { return 801; }
LACKS(cuvidCreateVideoSource) LACKS(cuvidCreateVideoSourceW) LACKS(cuvidDestroyVideoSource)
LACKS(cuvidSetVideoSourceState) LACKS(cuvidGetVideoSourceState)
LACKS(cuvidGetSourceVideoFormat) LACKS(cuvidGetSourceAudioFormat)

// libnvidia-encode.so.1 is the same file: PyNvVideoCodec asks it for its version, 13.0, and no more.
int NvEncodeAPIGetMaxSupportedVersion(uint32_t *version) { *version = 13 << 4; return 0; }
