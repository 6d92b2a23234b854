/* The program that every peer manages, so that none is measured with a slower one.

   worker sleep RUN NAME         append "NAME PID MONOTONIC_NS" to RUN/stamps, then pause
   worker flood RUN NAME BYTES   stamp, wait for RUN/go, write BYTES in lines of 100, leave RUN/done/NAME, pause
   worker spawn LIVE COUNT PROGRAM [ID]
                                 beside LIVE sleeping children: start PROGRAM and wait for it, COUNT times, by posix_spawn,
                                 or with ID by a fork that becomes that user and group; print the nanoseconds that it
                                 took, and those until the exec had succeeded
   worker bytes RUN NAME COUNT   stamp, wait for RUN/go, write COUNT bytes, each by a write of its own, as fast as can be
   worker lines RUN NAME         stamp, write a line of 100 bytes each second, for ever
   worker pace RUN NAME LINES PER_S
                                 stamp, wait for RUN/go, write LINES lines of 100, each by a write of its own that says the
                                 monotonic nanoseconds in columns 30 to 49, PER_S of them a second (many: a hundred times a
                                 second some), leave RUN/done/NAME, pause
   worker steady RUN NAME PER_S  stamp, write lines "NAME PID NUMBER" for ever, PER_S a second; three numbers of 8 bytes in
                                 RUN/truth/NAME.PID say when it began and when a write last succeeded (monotonic
                                 nanoseconds), and how many did: also of one that was killed */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 100, BLOCK_LINES = 640 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(3);
}

static void stamp(const char *run, const char *name)
{
    char path[512], line[256];
    snprintf(path, sizeof path, "%s/stamps", run);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    int size = snprintf(line, sizeof line, "%s %d %llu\n", name, getpid(), (unsigned long long)now_ns());
    if (fd < 0 || write(fd, line, (size_t)size) != size)
        fail(path);
    close(fd);
}

static void write_all(const char *data, size_t size)
{
    while (size) {
        ssize_t written = write(1, data, size);
        if (written < 0) {
            if (errno == EINTR)
                continue;
            /* Who gave us the pipe shares its flags. */
            if (errno == EAGAIN) {
                usleep(200);
                continue;
            }
            fail("write");
        }
        data += written;
        size -= (size_t)written;
    }
}

static void await_go(const char *run)
{
    char path[512];
    snprintf(path, sizeof path, "%s/go", run);
    while (access(path, F_OK))
        usleep(2000);
}

static void say_done(const char *run, const char *name, uint64_t began, uint64_t ended)
{
    char path[512], hidden[512];
    snprintf(hidden, sizeof hidden, "%s/done/.%s", run, name);
    snprintf(path, sizeof path, "%s/done/%s", run, name);
    FILE *file = fopen(hidden, "w");
    if (!file)
        fail(hidden);
    fprintf(file, "%llu %llu\n", (unsigned long long)began, (unsigned long long)ended);
    fclose(file);
    rename(hidden, path);
}

static void flood(const char *run, const char *name, uint64_t total)
{
    static char block[LINE * BLOCK_LINES];
    await_go(run);
    uint64_t number = 0, began = now_ns();
    for (uint64_t done = 0; done < total;) {
        size_t size = 0;
        while (size < sizeof block && done + size < total) {
            char *line = block + size;
            memset(line, 'x', LINE);
            int used = snprintf(line, LINE, "%-12.12s %016llu ", name, (unsigned long long)number++);
            line[used] = 'x';
            line[LINE - 1] = '\n';
            size += LINE;
        }
        write_all(block, size);
        done += size;
    }
    say_done(run, name, began, now_ns());
}

static char *no_environment[] = {NULL};

static pid_t started(char *program, char *argument)
{
    char *arguments[] = {program, argument, NULL};
    pid_t pid;
    errno = posix_spawn(&pid, program, NULL, NULL, arguments, no_environment);
    if (errno)
        fail(program);
    return pid;
}

/* The end of the pipe says that the exec has succeeded. */
static pid_t started_as(char *program, gid_t id)
{
    char *arguments[] = {program, NULL}, word;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        fail("pipe2");
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (!pid) {
        if (!setgroups(1, &id) && !setgid(id) && !setuid(id))
            execve(program, arguments, no_environment);
        ssize_t told = write(ends[1], "!", 1);
        _exit(told != 1);
    }
    close(ends[1]);
    if (read(ends[0], &word, 1))
        fail(program);
    close(ends[0]);
    return pid;
}

static int spawn_loop(int live, int count, char *program, char *id)
{
    pid_t *sleeping = calloc((size_t)live + 1, sizeof *sleeping);
    for (int i = 0; i < live; i++)
        sleeping[i] = started("/bin/sleep", "100000");
    uint64_t began = now_ns(), until_exec = 0;
    for (int i = 0; i < count; i++) {
        uint64_t asked = now_ns();
        pid_t pid = id ? started_as(program, (gid_t)atoi(id)) : started(program, NULL);
        until_exec += now_ns() - asked;
        waitpid(pid, NULL, 0);
    }
    printf("%llu %llu\n", (unsigned long long)(now_ns() - began), (unsigned long long)until_exec);
    for (int i = 0; i < live; i++) {
        kill(sleeping[i], SIGKILL);
        waitpid(sleeping[i], NULL, 0);
    }
    return 0;
}

static void bytes(const char *run, const char *name, uint64_t total)
{
    await_go(run);
    uint64_t began = now_ns();
    for (uint64_t done = 0; done < total; done++)
        write_all(done % LINE == LINE - 1 ? "\n" : "x", 1);
    say_done(run, name, began, now_ns());
}

static void pace(const char *run, const char *name, uint64_t total, uint64_t per_s)
{
    char line[2 * LINE];
    uint64_t at_once = per_s > 1000 ? per_s / 100 : 1;
    await_go(run);
    uint64_t began = now_ns();
    for (uint64_t number = 0; number < total; number++) {
        if (number % at_once == 0) {
            uint64_t due = began + number * 1000000000u / per_s;
            struct timespec at = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
            while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
                ;
        }
        snprintf(line, sizeof line, "%-12.12s %016llu %020llu %048d\n", name, (unsigned long long)number,
                 (unsigned long long)now_ns(), 0);
        write_all(line, LINE);
    }
    say_done(run, name, began, now_ns());
}

static void lines(const char *name)
{
    char line[LINE];
    memset(line, 'x', LINE);
    memcpy(line, name, strlen(name) < LINE ? strlen(name) : LINE);
    line[LINE - 1] = '\n';
    /* Not all in the same moment of a second. */
    usleep((useconds_t)(getpid() % 100) * 10000);
    for (;;) {
        write_all(line, LINE);
        sleep(1);
    }
}

/* What it knows outlives it: the page belongs to the file. */
static void steady(const char *run, const char *name, uint64_t per_s)
{
    struct { uint64_t began, last, lines; } *truth;
    char path[512], hidden[512], line[LINE];
    snprintf(hidden, sizeof hidden, "%s/truth/.%s.%d", run, name, getpid());
    snprintf(path, sizeof path, "%s/truth/%s.%d", run, name, getpid());
    int fd = open(hidden, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, sizeof *truth))
        fail(hidden);
    truth = mmap(NULL, sizeof *truth, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (truth == MAP_FAILED)
        fail(hidden);
    truth->began = truth->last = now_ns();
    if (rename(hidden, path))
        fail(path);
    for (uint64_t due = truth->began;;) {
        int size = snprintf(line, sizeof line, "%s %d %llu\n", name, getpid(), (unsigned long long)truth->lines + 1);
        write_all(line, (size_t)size);
        truth->lines++;
        truth->last = now_ns();
        /* Who could not write for long does not write all of it at once. */
        due += 1000000000u / per_s;
        if (due < truth->last)
            due = truth->last;
        struct timespec at = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
            ;
    }
}

int main(int count, char **words)
{
    if (count >= 5 && !strcmp(words[1], "spawn"))
        return spawn_loop(atoi(words[2]), atoi(words[3]), words[4], count > 5 ? words[5] : NULL);
    if (count < 4)
        return 2;
    stamp(words[2], words[3]);
    if (!strcmp(words[1], "flood") && count == 5)
        flood(words[2], words[3], strtoull(words[4], NULL, 10));
    else if (!strcmp(words[1], "bytes") && count == 5)
        bytes(words[2], words[3], strtoull(words[4], NULL, 10));
    else if (!strcmp(words[1], "pace") && count == 6)
        pace(words[2], words[3], strtoull(words[4], NULL, 10), strtoull(words[5], NULL, 10));
    else if (!strcmp(words[1], "steady") && count == 5)
        steady(words[2], words[3], strtoull(words[4], NULL, 10));
    else if (!strcmp(words[1], "lines"))
        lines(words[3]);
    else if (strcmp(words[1], "sleep"))
        return 2;
    for (;;)
        pause();
}
