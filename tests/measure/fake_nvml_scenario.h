/* What the FAKE devices do over time: a file of lines, `WHO WHAT ARGUMENTS`, WHO being an index or * for all.
 *
 *   start NS                          zero of all times, on CLOCK_MONOTONIC; without it, when NVML was initialised
 *   * power constant W                also: power ramp W W SECONDS, power square W W PERIOD
 *   * wrap MJ                         the energy counter goes on from 0 at so many millijoules
 *   * reset S                         the energy counter goes back to 0 at this time
 *   * refuse NAME                     NOT_SUPPORTED by this function, or by fieldN
 *   * lost S                          every call says GPU_IS_LOST from this time on
 *   * reasons S BITS                  clock event reasons; also: limit S MW, clock S MHZ, corrected S N, uncorrected S N,
 *                                     remapped S N: what holds before S is the default
 *   * mig ON    * process PID BYTES
 *
 * The counter ticks every 100 ms; its sensor sees the first 25 ms of each tick. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEVICES = 8, LISTED = 4, REFUSALS = 8, SEEN = 5 };
static const double TICK_S = 0.1, DUTY = 0.25;

struct change { double at_s, before, after; };
struct device {
  char shape[16];
  double low_w, high_w, period_s;
  double wrap_mj, reset_s, lost_s;
  struct change reasons, limit_mw, clock_mhz, corrected, uncorrected, remapped;
  int mig, processes, refusals;
  struct { unsigned pid; unsigned long long bytes; } process[LISTED];
  char refused[REFUSALS][64];
  long ticks;
  double counted_mj;
};

static struct device devices[DEVICES];
static double zero_s;

static double monotonic(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double seconds(void) { return monotonic() - zero_s; }

static double changing(const struct change *change) {
  return seconds() >= change->at_s ? change->after : change->before;
}

static int refuses(int index, const char *name) {
  for (int number = 0; number < devices[index].refusals; number++)
    if (!strcmp(devices[index].refused[number], name)) return 1;
  return 0;
}

static double watts(int index, double at_s) {
  const struct device *device = &devices[index];
  double part = at_s / device->period_s;
  if (!strcmp(device->shape, "ramp")) return device->low_w + (device->high_w - device->low_w) * fmin(fmax(part, 0), 1);
  if (!strcmp(device->shape, "square")) return part - floor(part) < 0.5 ? device->low_w : device->high_w;
  return device->low_w;
}

static unsigned long long counter_mj(int index) {
  struct device *device = &devices[index];
  double now = seconds(), counted, before;
  for (; (double)(device->ticks + 1) * TICK_S <= now; device->ticks++) {
    double seen = 0;
    for (int number = 0; number < SEEN; number++)
      seen += watts(index, ((double)device->ticks + DUTY * (number + 0.5) / SEEN) * TICK_S) / SEEN;
    before = device->counted_mj;
    device->counted_mj = before + 1000 * seen * TICK_S;
    if ((double)device->ticks * TICK_S < device->reset_s && (double)(device->ticks + 1) * TICK_S >= device->reset_s)
      device->counted_mj = 0;
  }
  counted = device->counted_mj;
  return (unsigned long long)(device->wrap_mj > 0 ? fmod(counted, device->wrap_mj) : counted);
}

static void tell(struct device *device, const char *what, const char *rest) {
  struct { const char *name; struct change *change; } changes[] = {
      {"reasons", &device->reasons}, {"limit", &device->limit_mw}, {"clock", &device->clock_mhz},
      {"corrected", &device->corrected}, {"uncorrected", &device->uncorrected}, {"remapped", &device->remapped}};
  for (unsigned number = 0; number < sizeof changes / sizeof *changes; number++)
    if (!strcmp(what, changes[number].name))
      sscanf(rest, "%lf %lf", &changes[number].change->at_s, &changes[number].change->after);
  if (!strcmp(what, "power")) sscanf(rest, "%15s %lf %lf %lf", device->shape, &device->low_w, &device->high_w, &device->period_s);
  if (!strcmp(what, "wrap")) device->wrap_mj = atof(rest);
  if (!strcmp(what, "reset")) device->reset_s = atof(rest);
  if (!strcmp(what, "lost")) device->lost_s = atof(rest);
  if (!strcmp(what, "mig")) device->mig = atoi(rest);
  if (!strcmp(what, "refuse") && device->refusals < REFUSALS) sscanf(rest, "%63s", device->refused[device->refusals++]);
  if (!strcmp(what, "process") && device->processes < LISTED) {
    sscanf(rest, "%u %llu", &device->process[device->processes].pid, &device->process[device->processes].bytes);
    device->processes++;
  }
}

static void read_scenario(const char *path) {
  FILE *file = path ? fopen(path, "r") : NULL;
  char line[256], who[16], what[32];
  int rest;
  zero_s = monotonic();
  memset(devices, 0, sizeof devices);
  for (int index = 0; index < DEVICES; index++) {
    devices[index].low_w = 250;
    devices[index].period_s = 1;
    devices[index].reset_s = devices[index].lost_s = INFINITY;
    devices[index].limit_mw.before = devices[index].limit_mw.after = 400000;
    devices[index].clock_mhz.before = devices[index].clock_mhz.after = 1980;
  }
  while (file && fgets(line, sizeof line, file)) {
    if (sscanf(line, "%15s %31s %n", who, what, &rest) < 2) continue;
    if (!strcmp(who, "start")) zero_s = 1e-9 * atof(what);
    for (int index = 0; index < DEVICES; index++)
      if (!strcmp(who, "*") || (*who >= '0' && *who <= '9' && atoi(who) == index)) tell(&devices[index], what, line + rest);
  }
  if (file) fclose(file);
}
