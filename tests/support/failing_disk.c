/* A disk that fails: preloaded into a process, it spoils what is written to the files whose path has FAILING_FILE in it
   while the file FAILING_WHILE exists. That holds the number of the error, and how many calls in a hundred fail if not
   all do. Half of what is written arrives. With the number -1 the process is then killed instead. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int failure(int file)
{
    char name[64], path[4096] = "", number[16] = "";
    const char *part = getenv("FAILING_FILE"), *flag = getenv("FAILING_WHILE");
    int saved = errno, opened;
    if (!part || !flag || (opened = open(flag, O_RDONLY | O_CLOEXEC)) < 0) {
        errno = saved;
        return 0;
    }
    if (read(opened, number, sizeof number - 1) < 0)
        number[0] = 0;
    close(opened);
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path - 1);
    errno = saved;
    if (length < 0 || !strstr(path, part))
        return 0;
    int error = 0, share = 100;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (sscanf(number, "%d %d", &error, &share) < 1 || now.tv_nsec / 1000 % 100 >= share)
        return 0;
    return error;
}

/* The call failed with this error; or the process does, in the middle of it. */
static int fail(int error)
{
    if (error < 0)
        raise(SIGKILL);
    errno = error;
    return -1;
}

ssize_t write(int file, const void *content, size_t size)
{
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    int error = failure(file);
    if (!error)
        return real(file, content, size);
    return real(file, content, size / 2) < 0 ? -1 : fail(error);
}

ssize_t pwrite64(int file, const void *content, size_t size, off64_t at)
{
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    int error = failure(file);
    if (!error)
        return real(file, content, size, at);
    return real(file, content, size / 2, at) < 0 ? -1 : fail(error);
}

ssize_t pwrite(int file, const void *content, size_t size, off_t at)
{
    return pwrite64(file, content, size, at);
}

int ftruncate64(int file, off64_t size)
{
    int (*real)(int, off64_t) = dlsym(RTLD_NEXT, "ftruncate64");
    int error = failure(file);
    if (!error)
        return real(file, size);
    return fail(error);
}

int ftruncate(int file, off_t size)
{
    return ftruncate64(file, size);
}

static int synced(int file, const char *name)
{
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    int error = failure(file);
    if (!error)
        return real(file);
    return fail(error);
}

int fsync(int file)
{
    return synced(file, "fsync");
}

int fdatasync(int file)
{
    return synced(file, "fdatasync");
}
