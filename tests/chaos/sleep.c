/* Preloaded before libfaketime, whose own version refuses sleeps until a monotonic time (EINVAL)
   where monotonic clocks are left alone; Python's time.sleep asks for those. */
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
}
