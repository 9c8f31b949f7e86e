/* A libnvidia-ml.so.1 of FAKE devices, driven by the environment:
 * FAKE_NVML_COUNT how many, FAKE_NVML_INIT what nvmlInit returns, FAKE_NVML_LOST the index of a device that is lost,
 * FAKE_NVML_MIXED every second device is of another model, FAKE_NVML_LOG a file that gets a line per nvmlShutdown,
 * FAKE_NVML_SCENARIO a file that says what the devices do (fake_nvml_scenario.h).
 * Functions that are not here are missing from the library, as they are from an old driver. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_nvml_scenario.h"

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2_t;
typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; } process_t;
typedef struct { unsigned version, sensor; int celsius; } temperature_t;
typedef struct {
  unsigned field, scope;
  long long timestamp, latency;
  unsigned type;
  int result;
  union { double real; unsigned small; unsigned long long large; } value;
} field_t;
enum { DOUBLE = 0, UNSIGNED = 1, UNSIGNED_LONG_LONG = 3 };

static int numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static int setting(const char *name, int otherwise) {
  const char *value = getenv(name);
  return value ? atoi(value) : otherwise;
}

static int index_of(void *device) { return *(int *)device; }

/* Leave the calling function as the scenario says of it: the device is lost, or it has no such reading. */
#define ANSWER(device)                                                   \
  do {                                                                   \
    if (seconds() >= devices[index_of(device)].lost_s) return GPU_IS_LOST; \
    if (refuses(index_of(device), __func__)) return NOT_SUPPORTED;       \
  } while (0)

int nvmlInitWithFlags(unsigned flags) {
  read_scenario(getenv("FAKE_NVML_SCENARIO"));
  return flags ? INVALID_ARGUMENT : setting("FAKE_NVML_INIT", SUCCESS);
}
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

int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2_t *memory) {
  ANSWER(device);
  if (index_of(device) == 1) return NOT_SUPPORTED;
  memory->total = 42949672960ull;
  memory->reserved = 1ull << 28;
  memory->used = 3ull << 30;
  memory->free = memory->total - memory->reserved - memory->used;
  return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
  ANSWER(device);
  *millijoules = counter_mj(index_of(device));
  return SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
  ANSWER(device);
  *milliwatts = (unsigned)(1000 * watts(index_of(device), seconds()));
  return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts) {
  ANSWER(device);
  *milliwatts = (unsigned)changing(&devices[index_of(device)].limit_mw);
  return SUCCESS;
}

/* Types 1 and 2 are the clocks of SMs and memory. */
int nvmlDeviceGetClockInfo(void *device, unsigned type, unsigned *megahertz) {
  ANSWER(device);
  *megahertz = type == 2 ? 1215 : 1410;
  return SUCCESS;
}

int nvmlDeviceGetMaxClockInfo(void *device, unsigned type, unsigned *megahertz) {
  ANSWER(device);
  *megahertz = type == 2 ? 1215 : (unsigned)changing(&devices[index_of(device)].clock_mhz);
  return SUCCESS;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons) {
  ANSWER(device);
  *reasons = (unsigned long long)changing(&devices[index_of(device)].reasons);
  return SUCCESS;
}

int nvmlDeviceGetTemperatureV(void *device, temperature_t *temperature) {
  ANSWER(device);
  if (temperature->version != 0x100000C || temperature->sensor) return INVALID_ARGUMENT;
  temperature->celsius = 55;
  return SUCCESS;
}

int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *celsius) {
  ANSWER(device);
  *celsius = 54 + sensor;
  return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, utilization_t *utilization) {
  ANSWER(device);
  utilization->gpu = 97;
  utilization->memory = 42;
  return SUCCESS;
}

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
  ANSWER(device);
  *current = *pending = (unsigned)devices[index_of(device)].mig;
  return SUCCESS;
}

int nvmlDeviceGetPersistenceMode(void *device, unsigned *mode) {
  ANSWER(device);
  *mode = 1;
  return SUCCESS;
}

int nvmlDeviceGetRemappedRows(void *device, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
  ANSWER(device);
  *corrected = (unsigned)changing(&devices[index_of(device)].remapped);
  *uncorrected = *pending = *failed = 0;
  return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_t *processes) {
  const struct device *told = &devices[index_of(device)];
  ANSWER(device);
  if (*count < (unsigned)told->processes) {
    *count = (unsigned)told->processes;
    return told->processes ? INSUFFICIENT_SIZE : SUCCESS;
  }
  *count = (unsigned)told->processes;
  for (int number = 0; number < told->processes; number++) {
    memset(&processes[number], 0, sizeof *processes);
    processes[number].pid = told->process[number].pid;
    processes[number].bytes = told->process[number].bytes;
  }
  return SUCCESS;
}

/* One field: its type and value, or that there is none. 186 and 185 are the driver's instant and average power. */
static int read_field(int index, field_t *field) {
  double now = seconds();
  char name[16];
  snprintf(name, sizeof name, "field%u", field->field);
  if (refuses(index, name)) return NOT_SUPPORTED;
  field->type = UNSIGNED_LONG_LONG;
  switch (field->field) {
    case 186: field->type = UNSIGNED; field->value.small = (unsigned)(1000 * watts(index, now)); return SUCCESS;
    case 185: field->type = UNSIGNED; field->value.small = (unsigned)(1000 * watts(index, now - 0.5)); return SUCCESS;
    case 82: field->type = UNSIGNED; field->value.small = 61; return SUCCESS;
    case 197: field->value.large = (unsigned long long)(now * 2e9); return SUCCESS;
    case 198: field->value.large = (unsigned long long)(now * 1e9); return SUCCESS;
    case 138: field->value.large = (unsigned long long)(now * 3e6); return field->scope == 0xFFFFFFFFu ? SUCCESS : INVALID_ARGUMENT;
    case 3: field->value.large = (unsigned long long)changing(&devices[index].corrected); return SUCCESS;
    case 4: field->value.large = (unsigned long long)changing(&devices[index].uncorrected); return SUCCESS;
    default: return NOT_SUPPORTED;
  }
}

int nvmlDeviceGetFieldValues(void *device, int count, field_t *fields) {
  ANSWER(device);
  for (int number = 0; number < count; number++) fields[number].result = read_field(index_of(device), &fields[number]);
  return SUCCESS;
}
