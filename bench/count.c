/* Counts what of a flood (worker.c) stands in its log, byte by byte.

   count NAME LINES FILE...    print how many of the LINES lines of NAME stand in no file, how many stand there once
                               more, and how many bytes are no such line: half of one, or of another process */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 100, HEAD = 30 };

/* The number in a line that is what worker.c writes, to its last byte; else -1. */
static int64_t number_of(const char *line, const char *name)
{
    char head[HEAD + 1], *end;
    snprintf(head, sizeof head, "%-12.12s ", name);
    if (memcmp(line, head, 13) || line[29] != ' ' || line[LINE - 1] != '\n')
        return -1;
    for (int at = HEAD; at < LINE - 1; at++)
        if (line[at] != 'x')
            return -1;
    memcpy(head, line + 13, 16);
    head[16] = 0;
    int64_t number = strtoll(head, &end, 10);
    return *end ? -1 : number;
}

int main(int count, char **words)
{
    if (count < 3)
        return 2;
    int64_t lines = strtoll(words[2], NULL, 10), found = 0, doubled = 0, strange = 0;
    char *seen = calloc((size_t)lines + 1, 1), *line = NULL;
    size_t room = 0;
    ssize_t size;
    for (int at = 3; at < count; at++) {
        FILE *file = fopen(words[at], "r");
        if (!file) {
            perror(words[at]);
            return 3;
        }
        while ((size = getline(&line, &room, file)) > 0) {
            int64_t number = size == LINE ? number_of(line, words[1]) : -1;
            if (number < 0 || number >= lines)
                strange += size;
            else if (seen[number])
                doubled++;
            else
                found += seen[number] = 1;
        }
        fclose(file);
    }
    printf("%lld %lld %lld\n", (long long)(lines - found), (long long)doubled, (long long)strange);
    return 0;
}
