/* A libnvidia-ml.so.1 of FAKE devices, driven by the environment:
 * FAKE_NVML_COUNT how many, FAKE_NVML_INIT what nvmlInit returns, FAKE_NVML_LOST the index of a device that is lost,
 * FAKE_NVML_MIXED every second device is of another model, FAKE_NVML_LOG a file that gets a line per nvmlShutdown.
 * Functions that are not here are missing from the library, as they are from an old driver. */
#include <stdio.h>
#include <stdlib.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
typedef struct { unsigned long long total, free, used; } memory_t;

static int numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static int setting(const char *name, int otherwise) {
  const char *value = getenv(name);
  return value ? atoi(value) : otherwise;
}

static int index_of(void *device) { return *(int *)device; }

int nvmlInitWithFlags(unsigned flags) { return flags ? INVALID_ARGUMENT : setting("FAKE_NVML_INIT", SUCCESS); }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
  const char *path = getenv("FAKE_NVML_LOG");
  FILE *log = path ? fopen(path, "a") : NULL;
  if (log) { fputs("shutdown\n", log); fclose(log); }
  return SUCCESS;
}

const char *nvmlErrorString(int code) {
  if (code == DRIVER_NOT_LOADED) return "Driver Not Loaded";
  return code == GPU_IS_LOST ? "GPU is lost" : "Other error";
}

int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "000.11.FAKE"); return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)setting("FAKE_NVML_COUNT", 2); return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  if ((int)index >= setting("FAKE_NVML_COUNT", 2)) return INVALID_ARGUMENT;
  if ((int)index == setting("FAKE_NVML_LOST", -1)) return GPU_IS_LOST;
  *device = &numbers[index];
  return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *text, unsigned size) {
  int other = setting("FAKE_NVML_MIXED", 0) && index_of(device) % 2;
  snprintf(text, size, other ? "FAKE Small" : "FAKE Large");
  return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
  snprintf(text, size, "GPU-%d%d000000-fake", index_of(device), index_of(device));
  return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) {
  if (index_of(device) == 1) return NOT_SUPPORTED; /* as where the memory is the host's */
  memory->total = 42949672960ull;
  memory->used = memory->free = 0;
  return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
  (void)device;
  *major = 9;
  *minor = 0;
  return SUCCESS;
}
