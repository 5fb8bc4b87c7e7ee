/* Another time: preloaded into a process, it adds the seconds that the file CLOCK_FILE holds to the time of day. It looks
   into the file ten times a second. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*real)(clockid_t, struct timespec *);
static volatile long offset;
static volatile long looked = -1;

static long jump(void)
{
    struct timespec now;
    const char *file = getenv("CLOCK_FILE");
    real(CLOCK_MONOTONIC, &now);
    long tenth = now.tv_sec * 10 + now.tv_nsec / 100000000;
    if (file && tenth != looked) {
        char text[32] = "";
        int saved = errno, opened = open(file, O_RDONLY | O_CLOEXEC);
        looked = tenth;
        if (opened >= 0) {
            if (read(opened, text, sizeof text - 1) > 0)
                offset = atol(text);
            close(opened);
        }
        errno = saved;
    }
    return offset;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (!result && clock == CLOCK_REALTIME)
        time->tv_sec += jump();
    return result;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *result, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}
