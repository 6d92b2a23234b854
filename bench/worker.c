/* The program that every peer manages, so that none is measured with a slower one.

   worker sleep RUN NAME         append "NAME PID MONOTONIC_NS" to RUN/stamps, then pause
   worker flood RUN NAME BYTES   stamp, wait for RUN/go, write BYTES in lines of 100, leave RUN/done/NAME, pause
   worker spawn COUNT PROGRAM    posix_spawn PROGRAM and wait for it, COUNT times; print the nanoseconds it took */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
            fail("write");
        }
        data += written;
        size -= (size_t)written;
    }
}

static void flood(const char *run, const char *name, uint64_t total)
{
    static char block[LINE * BLOCK_LINES];
    char path[512], hidden[512];
    snprintf(path, sizeof path, "%s/go", run);
    while (access(path, F_OK))
        usleep(2000);
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
    uint64_t ended = now_ns();
    snprintf(hidden, sizeof hidden, "%s/done/.%s", run, name);
    snprintf(path, sizeof path, "%s/done/%s", run, name);
    FILE *file = fopen(hidden, "w");
    if (!file)
        fail(hidden);
    fprintf(file, "%llu %llu\n", (unsigned long long)began, (unsigned long long)ended);
    fclose(file);
    rename(hidden, path);
}

static int spawn_loop(int count, char *program)
{
    char *arguments[] = {program, NULL}, *environment[] = {NULL};
    uint64_t began = now_ns();
    for (int i = 0; i < count; i++) {
        pid_t pid;
        errno = posix_spawn(&pid, program, NULL, NULL, arguments, environment);
        if (errno)
            fail(program);
        waitpid(pid, NULL, 0);
    }
    printf("%llu\n", (unsigned long long)(now_ns() - began));
    return 0;
}

int main(int count, char **words)
{
    if (count == 4 && !strcmp(words[1], "spawn"))
        return spawn_loop(atoi(words[2]), words[3]);
    if (count < 4)
        return 2;
    stamp(words[2], words[3]);
    if (!strcmp(words[1], "flood") && count == 5)
        flood(words[2], words[3], strtoull(words[4], NULL, 10));
    else if (strcmp(words[1], "sleep"))
        return 2;
    for (;;)
        pause();
}
