/* The limit of what a manager can do: a loop over posix_spawn, no configuration, no pipe, no log of its own.

   keeper RUN COUNT WORKER WORD ARGUMENT...
       keep COUNT processes `WORKER WORD RUN NAME ARGUMENT...`, NAME w000 and so on, each writing into RUN/NAME.log;
       start again what ends, at once */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

static pid_t started(char **words, int count, int number)
{
    char name[32], log[512], *argv[32];
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int used = 0;
    snprintf(name, sizeof name, "w%03d", number);
    snprintf(log, sizeof log, "%s/%s.log", words[1], name);
    argv[used++] = words[3];
    argv[used++] = words[4];
    argv[used++] = words[1];
    argv[used++] = name;
    for (int at = 5; at < count && used < 31; at++)
        argv[used++] = words[at];
    argv[used] = NULL;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    int failed = posix_spawn(&pid, words[3], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) {
        fprintf(stderr, "keeper: %s: %s\n", words[3], strerror(failed));
        exit(3);
    }
    return pid;
}

int main(int count, char **words)
{
    if (count < 5)
        return 2;
    int wanted = atoi(words[2]);
    pid_t *pids = calloc((size_t)wanted + 1, sizeof *pids);
    for (int number = 0; number < wanted; number++)
        pids[number] = started(words, count, number);
    for (;;) {
        pid_t ended = waitpid(-1, NULL, 0);
        if (ended < 0 && errno != EINTR)
            return 0;
        for (int number = 0; number < wanted; number++)
            if (pids[number] == ended)
                pids[number] = started(words, count, number);
    }
}
