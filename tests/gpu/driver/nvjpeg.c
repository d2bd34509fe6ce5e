// libnvjpeg for tests: it encodes with libjpeg-turbo what lies in the memory of fake.c's GPU, and can
// be told to err. Written after what NVIDIA's nvjpeg.h (12.4 and 13.3) declares; no text of it is here.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <jpeglib.h>

extern int fake_reachable(const void *start, size_t size);  // of fake.c
extern int fake_depth(void);

enum { OK, NOT_INITIALIZED, INVALID, ALLOCATOR = 5, FAILED = 6, UNSUPPORTED = 9, INCOMPLETE };
typedef struct { unsigned char *channel[4]; size_t pitch[4]; } image;
typedef struct { int (*take)(void **, size_t); int (*give)(void *); } allocator;
typedef struct { allocator memory; } handle;
typedef struct {
    handle *own;
    void *scratch;                                 // "device" memory for coefficients
    size_t size;
    unsigned char *jpeg, *before;                  // this picture's, and the one's before it
    unsigned long length, length_before;
} state;
typedef struct { int quality, encoding, sampling, optimised, restart; } params;

// ---- what a test steers and reads -------------------------------------------------------------
static char fault[32];
static int after;  // pictures that go well before it
static long live, pictures, dirty;
void fake_nvjpeg_fault(const char *name, int pictures_before) {
    snprintf(fault, sizeof fault, "%s", name);
    after = pictures_before;
}
void fake_nvjpeg_reset(void) { *fault = 0, after = 0, pictures = dirty = 0; }
long fake_nvjpeg_live(void) { return live; }
long fake_nvjpeg_pictures(void) { return pictures; }
long fake_nvjpeg_dirty(void) { return dirty; }  // pieces of memory that were not zeroed
static int is(const char *name) { return !strcmp(fault, name) && after <= 0; }
static void *make(size_t size) { live++; return calloc(1, size); }
static int drop(void *what) { if (!what) return INVALID; live--; free(what); return OK; }
#define NEED do { if (!fake_depth()) return NOT_INITIALIZED; } while (0)

static int room(handle *h, void **at, size_t *have, size_t size) {
    if (size <= *have) return OK;
    if (*at) h->memory.give(*at);
    *at = 0, *have = 0;
    if (h->memory.take(at, size)) return ALLOCATOR;
    if (!fake_reachable(*at, size)) return INVALID;
    for (size_t i = 0; i < size; i++) if (((char *)*at)[i]) { dirty++; break; }
    *have = size;
    return OK;
}

// ---- the calls ----------------------------------------------------------------------------------
int nvjpegGetProperty(int type, int *value) { *value = (int[]){13, 3, 2}[type]; return OK; }
int nvjpegCreateEx(int backend, allocator *device, void *pinned, unsigned flags, handle **h) {
    NEED;
    if (is("create")) return FAILED;
    if (backend || pinned || flags || !device) return INVALID;
    *h = make(sizeof **h);
    (*h)->memory = *device;
    return OK;
}
int nvjpegDestroy(handle *h) { NEED; return drop(h); }
int nvjpegEncoderStateCreate(handle *h, state **s, void *stream) {
    NEED;
    if (!h || !stream) return INVALID;
    *s = make(sizeof **s);
    (*s)->own = h;
    return room(h, &(*s)->scratch, &(*s)->size, 4096);
}
int nvjpegEncoderStateDestroy(state *s) {
    NEED;
    if (s->scratch) s->own->memory.give(s->scratch);
    free(s->jpeg), free(s->before);
    return drop(s);
}
int nvjpegEncoderParamsCreate(handle *h, params **p, void *stream) {
    NEED;
    *p = make(sizeof **p);
    return h && stream ? OK : INVALID;
}
int nvjpegEncoderParamsDestroy(params *p) { NEED; return drop(p); }
int nvjpegEncoderParamsSetQuality(params *p, int q, void *s) {
    p->quality = q;
    return q >= 1 && q <= 100 ? OK : INVALID;
}
int nvjpegEncoderParamsSetEncoding(params *p, int e, void *s) { p->encoding = e; return OK; }
int nvjpegEncoderParamsSetSamplingFactors(params *p, int c, void *s) { p->sampling = c; return OK; }
int nvjpegEncoderParamsSetOptimizedHuffman(params *p, int o, void *s) { p->optimised = o; return OK; }
int nvjpegEncoderParamsSetRestartInterval(params *p, unsigned n, void *s) {
    p->restart = is("no restarts") ? 0 : n;
    return OK;
}

static void compress(state *s, params *p, const unsigned char *pixels, size_t pitch, int w, int h) {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &s->jpeg, &s->length);
    c.image_width = w, c.image_height = h, c.input_components = 3;
    c.in_color_space = is("colours") ? JCS_EXT_RGB : JCS_EXT_BGR;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, p->quality, TRUE);
    c.optimize_coding = p->optimised;
    c.restart_interval = p->restart;
    if (is("444")) c.comp_info[0].h_samp_factor = c.comp_info[0].v_samp_factor = 1;
    if (is("progressive")) jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    if (is("comment")) jpeg_write_marker(&c, JPEG_COM, (void *)"what somebody saw", 17);
    while (c.next_scanline < c.image_height) {
        int y = c.next_scanline;
        if (is("shifted")) y = y < h - 64 ? y + 64 : y;
        if (is("stale half") && y >= h / 2) y = h / 2;
        JSAMPROW row = (JSAMPROW)(pixels + y * pitch);
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
}
int nvjpegEncodeImage(handle *h, state *s, params *p, const image *i, int format, int width, int height,
                      void *stream) {
    NEED;
    if (!stream || format != 6 || p->sampling != 2 || p->encoding != 0xc0) return INVALID;
    if (i->pitch[0] < 3 * (size_t)width) return INVALID;
    if (!fake_reachable(i->channel[0], i->pitch[0] * height)) return INVALID;
    int why = room(h, &s->scratch, &s->size, 3 * (size_t)width * height);
    if (why) return why;
    if (is("encode")) return FAILED;
    while (is("hang")) nanosleep(&(struct timespec){0, 1000000}, 0);
    free(s->before), s->before = s->jpeg, s->length_before = s->length;
    s->jpeg = 0, s->length = 0;
    compress(s, p, i->channel[0], i->pitch[0], width, is("size") ? height - 16 : height);
    pictures++;
    return OK;
}
int nvjpegEncodeRetrieveBitstream(handle *h, state *s, unsigned char *out, size_t *length, void *stream) {
    NEED;
    int another = is("another") && s->before, cut = is("truncated") ? (int)s->length / 2 : 0;
    unsigned long have = another ? s->length_before : s->length - cut;
    if (is("longer")) have += 100;
    if (is("endless")) have = (size_t)1 << 40;
    if (is("nothing")) have = 0;
    if (!out) { *length = have; return OK; }
    if (*length < have) return INVALID;
    memset(out, 0xCD, have);
    memcpy(out, another ? s->before : s->jpeg, have < s->length || another ? have : s->length);
    if (cut) memcpy(out + have - 2, "\xff\xd9", 2);  // as if it were whole
    if (is("damaged")) for (unsigned long n = have / 2; n < have / 2 + 400; n++) out[n] = 0x55;
    *length = have;
    if (after > 0) after--;
    return OK;
}
