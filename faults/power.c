/* A power cut for one process: preloaded, it notes what each unsynced write covered, so that it can be undone.

   POWER_UNDER    folder: only files in it count
   POWER_JOURNAL  folder for the notes, one file an inode; a sync of a file empties its notes
   POWER_TURN     file of 8 bytes: how many writes, syncs, cuts, renames and unlinks there were so far
   POWER_DIE_AT   kill -9 of itself at that turn; a write is done by half first
   POWER_DIE_ON   only turns of this kind count for POWER_DIE_AT: write, sync, cut, rename, unlink
   POWER_SLOW     milliseconds that each sync takes longer
   POWER_TRACE    file that gets one letter for each write (w), sync (s) and answer of a server with 2xx (a) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *under, *journal, *die_on;
static size_t under_length;
static int64_t *turn, die_at;
static int trace = -1, slow;

/* A copy: whoever sets its own title writes over the environment. */
static const char *setting(const char *name) {
    const char *text = getenv(name);
    return text ? strdup(text) : NULL;
}

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Also called by who was forked and has another environment since. */
__attribute__((constructor)) void power_begin(void) {
    const char *text;
    under = setting("POWER_UNDER");
    journal = setting("POWER_JOURNAL");
    die_on = setting("POWER_DIE_ON");
    under_length = under ? strlen(under) : 0;
    slow = (text = getenv("POWER_SLOW")) ? atoi(text) : 0;
    die_at = (text = getenv("POWER_DIE_AT")) ? atoll(text) : 0;
    if ((text = getenv("POWER_TRACE"))) trace = open(text, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if ((text = getenv("POWER_TURN"))) {
        int file = open(text, O_RDWR | O_CLOEXEC);
        void *mapped = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (mapped != MAP_FAILED) turn = mapped;
        close(file);
    }
}

static int counts(const char *path) {
    size_t length = strlen(path);
    if (!under || strncmp(path, under, under_length)) return 0;
    return !strstr(path, "/landing-") && !strstr(path, "/probe-") && !(length > 4 && !strcmp(path + length - 4, "-shm"));
}

static int counts_fd(int fd) {
    char link[64], path[4096];
    ssize_t n;
    if (!under) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return counts(path);
}

static void note(char letter) {
    if (trace >= 0 && REAL(write)(trace, &letter, 1) != 1) abort();
}

/* Whether this turn is the one to die at. */
static int is_last(const char *kind) {
    if (!turn || (die_on && strcmp(die_on, kind))) return 0;
    return ++*turn == die_at;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void notes_of(ino_t inode, char *path, size_t size) {
    snprintf(path, size, "%s/%llu", journal, (unsigned long long)inode);
}

/* Note the bytes at `offset` before `length` of them change; length < 0: all behind it. */
static void remember(int fd, int64_t offset, int64_t length) {
    struct stat now;
    char path[4096], *old = NULL;
    int64_t head[3], held = 0;
    int file;
    if (!journal || fstat(fd, &now)) return;
    if (offset < now.st_size) {
        held = now.st_size - offset;
        if (length >= 0 && held > length) held = length;
        old = malloc((size_t)held);
        int own = open(({ snprintf(path, sizeof path, "/proc/self/fd/%d", fd); path; }), O_RDONLY | O_CLOEXEC);
        if (own < 0 || pread(own, old, (size_t)held, offset) != held) abort();
        close(own);
    }
    head[0] = offset, head[1] = held, head[2] = now.st_size;
    notes_of(now.st_ino, path, sizeof path);
    file = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || REAL(write)(file, head, sizeof head) != sizeof head) abort();
    if (held && REAL(write)(file, old, (size_t)held) != held) abort();
    close(file);
    free(old);
}

static void forget(ino_t inode) {
    char path[4096];
    if (!journal) return;
    notes_of(inode, path, sizeof path);
    REAL(unlink)(path);
}

static void forget_path(const char *path) {
    struct stat now;
    if (!lstat(path, &now)) forget(now.st_ino);
}

static void look_at_answer(const void *bytes, size_t n) {
    if (trace >= 0 && n > 10 && !memcmp(bytes, "HTTP/1.1 2", 10)) note('a');
}

#define WRITE(call, half, offset)                      \
    if (!counts_fd(fd)) {                              \
        look_at_answer(bytes, n);                      \
        return call;                                   \
    }                                                  \
    pthread_mutex_lock(&mutex);                        \
    remember(fd, offset, (int64_t)n);                  \
    if (is_last("write")) {                            \
        if (half < 0) abort();                         \
        die();                                         \
    }                                                  \
    note('w');                                         \
    ssize_t done = call;                               \
    pthread_mutex_unlock(&mutex);                      \
    return done;

static int64_t place(int fd) {
    struct stat now;
    if ((fcntl(fd, F_GETFL) & O_APPEND) && !fstat(fd, &now)) return now.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    WRITE(REAL(write)(fd, bytes, n), REAL(write)(fd, bytes, n / 2), place(fd))
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    WRITE(REAL(pwrite)(fd, bytes, n, at), REAL(pwrite)(fd, bytes, n / 2, at), at)
}
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    WRITE(REAL(pwrite64)(fd, bytes, n, at), REAL(pwrite64)(fd, bytes, n / 2, at), at)
}

#define SYNC(name)                                     \
    int name(int fd) {                                 \
        struct stat now;                               \
        if (!counts_fd(fd)) return REAL(name)(fd);     \
        pthread_mutex_lock(&mutex);                    \
        if (is_last("sync")) die();                    \
        if (slow) usleep((useconds_t)slow * 1000);     \
        int failed = REAL(name)(fd);                   \
        if (!failed && !fstat(fd, &now)) forget(now.st_ino); \
        note('s');                                     \
        pthread_mutex_unlock(&mutex);                  \
        return failed;                                 \
    }
SYNC(fsync)
SYNC(fdatasync)

#define CUT(name, type)                                \
    int name(int fd, type size) {                      \
        if (!counts_fd(fd)) return REAL(name)(fd, size); \
        pthread_mutex_lock(&mutex);                    \
        remember(fd, size, -1);                        \
        if (is_last("cut")) die();                     \
        int failed = REAL(name)(fd, size);             \
        pthread_mutex_unlock(&mutex);                  \
        return failed;                                 \
    }
CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)

#define UNLINK(name)                                   \
    int name(const char *path) {                       \
        if (!counts(path)) return REAL(name)(path);    \
        pthread_mutex_lock(&mutex);                    \
        if (is_last("unlink")) die();                  \
        forget_path(path);                             \
        int failed = REAL(name)(path);                 \
        pthread_mutex_unlock(&mutex);                  \
        return failed;                                 \
    }
UNLINK(unlink)
UNLINK(remove)

int rename(const char *from, const char *to) {
    if (!counts(to)) return REAL(rename)(from, to);
    pthread_mutex_lock(&mutex);
    if (is_last("rename")) die();
    forget_path(to);
    int failed = REAL(rename)(from, to);
    pthread_mutex_unlock(&mutex);
    return failed;
}

ssize_t send(int fd, const void *bytes, size_t n, int flags) {
    look_at_answer(bytes, n);
    return REAL(send)(fd, bytes, n, flags);
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    if (n > 0) look_at_answer(parts[0].iov_base, parts[0].iov_len);
    return REAL(writev)(fd, parts, n);
}
