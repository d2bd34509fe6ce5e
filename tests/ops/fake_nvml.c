/* libnvidia-ml.so.1 as pynvml calls it, with values from the file that FAKE_NVML names: a line a
 * GPU, "millijoules milliwatts", read anew at each call. A negative value is NVML's error, -3 being
 * NOT_SUPPORTED. The first line alone may be "init N": nvmlInit fails with N.
 * Limits: it knows no clocks, no MIG, no processes, never blocks, and its errors do not depend on
 * each other as a driver's do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANY 8
static long long energy[MANY], power[MANY];
static int asked[2];

static int load(void) {
    char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    int many = 0, init;
    if (!file) return -9;
    if (fscanf(file, "init %d", &init) == 1) { fclose(file); return -init; }
    while (many < MANY && fscanf(file, "%lld %lld", &energy[many], &power[many]) == 2) many++;
    fclose(file);
    return many;
}

int nvmlInitWithFlags(unsigned flags) { int many = load(); (void)flags; return many < 0 ? -many : 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) {
    int many = load();
    if (many < 0) return -many;
    *count = (unsigned)many;
    return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(size_t)(index + 1);
    return 0;
}
static int value(void *device, long long *values, unsigned long long *result) {
    size_t index = (size_t)device - 1;
    int many = load();
    if (many < 0) return -many;
    if (index >= (size_t)many) return 15; /* GPU_IS_LOST */
    if (values[index] < 0) return (int)-values[index];
    *result = (unsigned long long)values[index];
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    asked[0]++;
    return value(device, energy, millijoules);
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
    unsigned long long found = 0;
    int result = value(device, power, &found);
    asked[1]++;
    if (!result) *milliwatts = (unsigned)found;
    return result;
}
/* for tests: how often energy (0) and power (1) were asked for */
int fakeAsked(int which) { return asked[which]; }
static const char *text(int error) {
    switch (error) {
    case 3: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    default: return "Unknown Error";
    }
}
const char *nvmlErrorString(int error) { return text(error); }
