/*
 * Makes the toolchain give the same bytes every time. It starts Python in a WebAssembly memory, imports the interceptor, and
 * stores the memory that results. What lies where in it depends on all that Python saw: the clock, random bytes (the seeds of
 * hash tables), and of the directory that it imports from the order of the entries, inode numbers and times. Loaded before the C
 * library with LD_PRELOAD, this file answers in its place: it is always the same second, all random bytes are equal, and the files
 * below $DETERMINISTIC_ROOT have sorted entries and attributes made from their names.
 *
 * The toolchain asks the kernel for files without the C library, so a seccomp filter sends these system calls to a signal
 * handler. For `build` alone, on Linux: nothing of this comes into the interceptor.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/stat.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define ARGUMENT(context, n) ((context)->uc_mcontext.gregs[(const int[]){REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8}[n]])
#define RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define ARGUMENT(context, n) ((context)->uc_mcontext.regs[n])
#define RESULT(context) ((context)->uc_mcontext.regs[0])
#else
#error "this processor is not known here"
#endif

/* 1980-01-01; the sixth argument, which these calls do not have, marks those of this file, which the filter lets pass */
enum { SECOND = 315532800, BYTE = 7, OURS = 0x0d7e, LISTING_BYTES = 1 << 20, MAX_ENTRIES = 1 << 14, MAX_LISTINGS = 16 };

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

static char root[PATH_MAX];

/* A number for a file below the root, made from its path without the first name, which is that of a temporary directory;
   0 for other files. */
static uint64_t number_of(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t prefix = strlen(root);
    if (length < 0 || (size_t)length <= prefix || strncmp(path, root, prefix) != 0 || path[prefix] != '/') return 0;
    path[length] = 0;
    const char *name = strchr(path + prefix + 1, '/');
    uint64_t hash = 14695981039346656037u;
    for (; name && *name; name++) hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return hash | 1;
}

static long fixed_statx(int dir, const char *path, int flags, unsigned mask, struct statx *out) {
    long result = syscall(SYS_statx, dir, path, flags, mask, out, OURS);
    if (result != 0) return -errno;
    int empty = path == NULL || *path == 0;
    int fd = empty ? dir : openat(dir, path, O_PATH | O_CLOEXEC | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0));
    uint64_t number = fd < 0 ? 0 : number_of(fd);
    if (fd >= 0 && !empty) close(fd);
    if (number == 0) return 0;
    struct statx_timestamp time = {.tv_sec = SECOND};
    out->stx_atime = out->stx_btime = out->stx_ctime = out->stx_mtime = time;
    out->stx_ino = number;
    out->stx_nlink = 1;
    out->stx_dev_major = out->stx_dev_minor = 1;
    out->stx_blksize = 4096;
    if ((out->stx_mode & S_IFMT) == S_IFDIR) out->stx_size = 4096;
    out->stx_blocks = (out->stx_size + 511) / 512;
    return 0;
}

struct entry { uint64_t ino; int64_t off; unsigned short reclen; unsigned char type; char name[]; };
static struct listing { int fd; int count, next; char *bytes; struct entry **entries; } listings[MAX_LISTINGS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void sort(struct entry **entries, int count) {
    for (int gap = count / 2; gap > 0; gap /= 2)
        for (int i = gap; i < count; i++)
            for (int j = i - gap; j >= 0 && strcmp(entries[j]->name, entries[j + gap]->name) > 0; j -= gap) {
                struct entry *other = entries[j];
                entries[j] = entries[j + gap];
                entries[j + gap] = other;
            }
}

static struct listing *listing_of(int fd) {
    struct listing *free_one = NULL;
    for (int i = 0; i < MAX_LISTINGS; i++) {
        if (listings[i].bytes && listings[i].fd == fd) return &listings[i];
        if (!listings[i].bytes) free_one = &listings[i];
    }
    if (!free_one) abort();
    size_t size = LISTING_BYTES + MAX_ENTRIES * sizeof(struct entry *);
    free_one->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (free_one->bytes == MAP_FAILED) abort();
    free_one->entries = (struct entry **)(void *)(free_one->bytes + LISTING_BYTES);
    free_one->fd = fd;
    return free_one;
}

static void drop(struct listing *list) {
    munmap(list->bytes, LISTING_BYTES + MAX_ENTRIES * sizeof(struct entry *));
    list->bytes = NULL;
}

/* The whole directory is read when its file is at the beginning, and then handed out in order. */
static long sorted_getdents(int fd, char *out, size_t size) {
    if (number_of(fd) == 0) {
        long result = syscall(SYS_getdents64, fd, out, size, 0, 0, OURS);
        return result < 0 ? -errno : result;
    }
    struct listing *list = listing_of(fd);
    if (lseek(fd, 0, SEEK_CUR) == 0) {
        long used = 0, got;
        while ((got = syscall(SYS_getdents64, fd, list->bytes + used, LISTING_BYTES - used, 0, 0, OURS)) > 0) used += got;
        if (got < 0) abort();
        list->count = list->next = 0;
        for (long at = 0; at < used; at += ((struct entry *)(void *)(list->bytes + at))->reclen) {
            if (list->count == MAX_ENTRIES) abort();
            list->entries[list->count++] = (struct entry *)(void *)(list->bytes + at);
        }
        sort(list->entries, list->count);
    }
    size_t written = 0;
    for (; list->next < list->count && written + list->entries[list->next]->reclen <= size; list->next++) {
        struct entry *entry = list->entries[list->next];
        memcpy(out + written, entry, entry->reclen);
        entry = (struct entry *)(void *)(out + written);
        entry->ino = (uint64_t)list->next + 1;
        entry->off = list->next + 1;
        written += entry->reclen;
    }
    if (written == 0 && list->next < list->count) return -EINVAL;
    if (written == 0) drop(list);
    return (long)written;
}

static void answer(int signal, siginfo_t *info, void *where) {
    (void)signal;
    ucontext_t *context = where;
    int saved = errno;
    if (info->si_syscall == SYS_statx) {
        RESULT(context) = fixed_statx((int)ARGUMENT(context, 0), (const char *)ARGUMENT(context, 1), (int)ARGUMENT(context, 2),
                                      (unsigned)ARGUMENT(context, 3), (struct statx *)ARGUMENT(context, 4));
    } else {
        pthread_mutex_lock(&lock);
        RESULT(context) = sorted_getdents((int)ARGUMENT(context, 0), (char *)ARGUMENT(context, 1), (size_t)ARGUMENT(context, 2));
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
}

__attribute__((constructor)) static void begin(void) {
    const char *wanted = getenv("DETERMINISTIC_ROOT");
    if (!wanted || !realpath(wanted, root)) return;
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_statx, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getdents64, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OURS, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("deterministic.c");
        _exit(3);
    }
}
