/* A file system that lacks what the environment variable LACKS names: preloaded into a process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int lacks(const char *what) {
    const char *all = getenv("LACKS");
    return all != NULL && strstr(all, what) != NULL;
}

static int fail(int number) {
    errno = number;
    return -1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) {
    struct stat status;
    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) ? lacks("fsync-folder") : lacks("fsync-file"))
        return fail(EINVAL);
    return REAL(fsync)(fd);
}

int flock(int fd, int operation) {
    if (lacks("flock-ENOLCK"))
        return fail(ENOLCK);
    return lacks("flock") ? fail(ENOSYS) : REAL(flock)(fd, operation);
}

int fcntl64(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    if ((command == F_SETLK || command == F_SETLKW) && lacks("posix-locks"))
        return fail(ENOLCK);
    return REAL(fcntl64)(fd, command, argument);
}

int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    if ((command == F_SETLK || command == F_SETLKW) && lacks("posix-locks"))
        return fail(ENOLCK);
    return REAL(fcntl)(fd, command, argument);
}

int link(const char *source, const char *target) {
    return lacks("links") ? fail(EPERM) : REAL(link)(source, target);
}

int linkat(int a, const char *source, int b, const char *target, int flags) {
    return lacks("links") ? fail(EPERM) : REAL(linkat)(a, source, b, target, flags);
}

int symlink(const char *source, const char *target) {
    return lacks("symbolic") ? fail(EPERM) : REAL(symlink)(source, target);
}

static int onto_file(const char *target) {
    struct stat status;
    return lstat(target, &status) == 0 && !S_ISDIR(status.st_mode);
}

int rename(const char *source, const char *target) {
    return lacks("replace") && onto_file(target) ? fail(EEXIST) : REAL(rename)(source, target);
}

int renameat2(int a, const char *source, int b, const char *target, unsigned flags) {
    return lacks("noreplace") ? fail(EINVAL) : REAL(renameat2)(a, source, b, target, flags);
}

static int refused_name(const char *path, int flags) {
    const char *name = strrchr(path, '/');
    return (flags & O_CREAT) && lacks("odd-names") && strpbrk(name ? name : path, ":?") != NULL;
}

int open64(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return refused_name(path, flags) ? fail(EINVAL) : REAL(open64)(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return refused_name(path, flags) ? fail(EINVAL) : REAL(open)(path, flags, mode);
}

/* no file above 20,000 bytes, as FAT32 has none above 4 GB */
ssize_t write(int fd, const void *data, size_t count) {
    struct stat status;
    if (lacks("large-files") && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size + (off_t)count > 20000)
        return fail(EFBIG);
    return REAL(write)(fd, data, count);
}
