/* A libnvidia-ml.so.1 of two FAKE devices that answers how they are set up; the second supports none of it.
 * FAKE_NVML_LOST is the end of a UUID that no device has any more. nvmlDeviceGetVbiosVersion is missing, as any function
 * may be from an old driver. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9 };
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } pci_t;

static int first = 0, second = 1;

#define SAY(condition, target, value) do { if (*(int *)device || !(condition)) return NOT_SUPPORTED; *(target) = (value); } while (0)

int nvmlInitWithFlags(unsigned flags) { (void)flags; return getenv("FAKE_NVML_FAILS") ? DRIVER_NOT_LOADED : SUCCESS; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return puts("shutdown") < 0; }
const char *nvmlErrorString(int code) { return code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Other error"; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12080; return SUCCESS; }
int nvmlSystemGetNVMLVersion(char *text, unsigned size) { snprintf(text, size, "12.000.11.FAKE"); return SUCCESS; }

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  const char *lost = getenv("FAKE_NVML_LOST");
  if (lost && strstr(uuid, lost)) return NOT_FOUND;
  *device = strstr(uuid, "first") ? &first : &second;
  return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(void *device, pci_t *info) {
  if (*(int *)device) return NOT_SUPPORTED;
  memset(info, 0, sizeof *info);
  snprintf(info->bus_id, sizeof info->bus_id, "00000000:C1:00.0");
  return SUCCESS;
}

int nvmlDeviceGetCurrPcieLinkGeneration(void *device, unsigned *value) { SAY(1, value, 1); return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkWidth(void *device, unsigned *value) { SAY(1, value, 8); return SUCCESS; }
int nvmlDeviceGetMaxPcieLinkGeneration(void *device, unsigned *value) { SAY(1, value, 5); return SUCCESS; }
int nvmlDeviceGetMaxPcieLinkWidth(void *device, unsigned *value) { SAY(1, value, 16); return SUCCESS; }
int nvmlDeviceGetArchitecture(void *device, unsigned *value) { SAY(1, value, 9); return SUCCESS; }
int nvmlDeviceGetMaxClockInfo(void *device, int kind, unsigned *value) { SAY(1, value, kind == 1 ? 1980 : 2619); return SUCCESS; }
int nvmlDeviceGetApplicationsClock(void *device, int kind, unsigned *value) { SAY(kind != 2, value, 1500); return SUCCESS; }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *value) { SAY(1, value, 400000); return SUCCESS; }
int nvmlDeviceGetPowerManagementDefaultLimit(void *device, unsigned *value) { SAY(1, value, 700000); return SUCCESS; }
int nvmlDeviceGetPowerManagementLimitConstraints(void *device, unsigned *least, unsigned *most) {
  SAY(1, least, 200000);
  *most = 700000;
  return SUCCESS;
}
int nvmlDeviceGetPersistenceMode(void *device, int *mode) { SAY(1, mode, 0); return SUCCESS; }
int nvmlDeviceGetComputeMode(void *device, int *mode) { SAY(1, mode, 3); return SUCCESS; }
int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *pending) { SAY(1, now, 0); *pending = 1; return SUCCESS; }
int nvmlDeviceGetEccMode(void *device, int *now, int *pending) { SAY(1, now, 1); *pending = 0; return SUCCESS; }
int nvmlDeviceGetNvLinkState(void *device, unsigned link, int *active) { SAY(link < 18, active, link != 4); return SUCCESS; }
