/* Copyright 2026 The edge_dnn_partition authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded (LD_PRELOAD) it lets a process live on a wall clock that is stepped: the eight bytes of the file
 * $STEPPED_CLOCK are nanoseconds that are added to it, whenever they change. A wait until a time of that clock
 * ends when the stepped clock reaches it, as the kernel's own waits do after clock_settime(2): those of
 * std::condition_variable are such waits in the ROS wheels, also where they are asked for the steady clock. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define WALL_LEAST (1000000000LL * SECOND) /* what is less is a time of the steady clock */

static volatile int64_t *step;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("STEPPED_CLOCK"), O_RDONLY);
    step = mmap(NULL, sizeof *step, PROT_READ, MAP_SHARED, file, 0);
    close(file);
}

static int64_t stepped(void) { return step ? *step : 0; }
static int64_t whole(const struct timespec *at) { return at->tv_sec * SECOND + at->tv_nsec; }
static struct timespec parts(int64_t at) { return (struct timespec){at / SECOND, at % SECOND}; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int code = syscall(SYS_clock_gettime, clock, now);
    if (code == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *now = parts(whole(now) + stepped());
    return code;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    *now = (struct timeval){at.tv_sec, at.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *now) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (now) *now = at.tv_sec;
    return at.tv_sec;
}

/* WAIT waits until the true time `until`, and is repeated if the clock was stepped back meanwhile. */
#define WAIT_STEPPED(at, WAIT, timed_out)                                        \
    if (whole(at) < WALL_LEAST) { struct timespec until = *at; return WAIT; }    \
    for (;;) {                                                                   \
        int64_t was = stepped();                                                 \
        struct timespec until = parts(whole(at) - was);                          \
        int code = WAIT;                                                         \
        if (!(timed_out) || stepped() >= was) return code;                       \
    }

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *at) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    WAIT_STEPPED(at, real(condition, mutex, &until), code == ETIMEDOUT)
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *at) {
    static int (*real)(pthread_mutex_t *, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "pthread_mutex_timedlock");
    WAIT_STEPPED(at, real(mutex, &until), code == ETIMEDOUT)
}

int sem_timedwait(sem_t *semaphore, const struct timespec *at) {
    static int (*real)(sem_t *, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "sem_timedwait");
    WAIT_STEPPED(at, real(semaphore, &until), code != 0 && errno == ETIMEDOUT)
}
