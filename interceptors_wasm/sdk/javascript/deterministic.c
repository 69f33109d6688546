/*
 * Makes the toolchain give the same bytes every time. It runs the interceptor's top level once and stores the memory
 * that results; in it are the seeds of hash tables and of Math.random(), made from the clock and from random bytes.
 * Loaded before the C library with LD_PRELOAD, this file answers in its place: it is always the same second, and
 * all random bytes are equal. For `build` alone: nothing of it comes into the interceptor.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>

enum { SECOND = 315532800, BYTE = 7 }; /* 1980-01-01 */

int clock_gettime(clockid_t clock, struct timespec *now) {
    (void)clock;
    now->tv_sec = SECOND;
    now->tv_nsec = 0;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    now->tv_sec = SECOND;
    now->tv_usec = 0;
    return 0;
}

ssize_t getrandom(void *bytes, size_t length, unsigned flags) {
    (void)flags;
    memset(bytes, BYTE, length);
    return (ssize_t)length;
}

int getentropy(void *bytes, size_t length) {
    memset(bytes, BYTE, length);
    return 0;
}
