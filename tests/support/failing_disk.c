/* A disk that fails: preloaded into a process, it spoils what is written to the files whose path ends with FAILING_FILE
   while the file FAILING_WHILE exists. That holds the number of the error. Half of what is written arrives. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failure(int file)
{
    char name[64], path[4096] = "", number[16] = "";
    const char *ending = getenv("FAILING_FILE"), *flag = getenv("FAILING_WHILE");
    int saved = errno, opened;
    if (!ending || !flag || (opened = open(flag, O_RDONLY | O_CLOEXEC)) < 0) {
        errno = saved;
        return 0;
    }
    if (read(opened, number, sizeof number - 1) < 0)
        number[0] = 0;
    close(opened);
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path - 1);
    errno = saved;
    size_t end = strlen(ending);
    if (length < (ssize_t)end || strcmp(path + length - end, ending))
        return 0;
    return atoi(number);
}

ssize_t pwrite64(int file, const void *content, size_t size, off64_t at)
{
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    int error = failure(file);
    if (!error)
        return real(file, content, size, at);
    real(file, content, size / 2, at);
    errno = error;
    return -1;
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
    errno = error;
    return -1;
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
    errno = error;
    return -1;
}

int fsync(int file)
{
    return synced(file, "fsync");
}

int fdatasync(int file)
{
    return synced(file, "fdatasync");
}
