/* The operator's command: finds the subcommand and runs it. */
#include "cmd.h"

#include <stdio.h>

/* `enrol ca` before `enrol`, which takes any word. */
static const struct cmd *const commands[] = {
    &cmd_check,    &cmd_explain,   &cmd_enrol_ca,   &cmd_enrol,      &cmd_unenrol,
    &cmd_enrolled, &cmd_token_new, &cmd_token_show, &cmd_introspect, &cmd_key_new,
    &cmd_reload,   &cmd_revoke,    &cmd_status};

enum { COMMANDS = sizeof commands / sizeof *commands };

static int help(FILE *to)
{
    (void)fputs("usage: postern COMMAND [OPTION]... [ARGUMENT]...\n\n", to);
    for (size_t i = 0; i < COMMANDS; i++)
        (void)fprintf(to, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    (void)fputs("\n'postern COMMAND --help' tells more; 'postern --version' the version.\n"
                "See postern(1), postern.yaml(5), postern-policy(5).\n",
                to);
    return fflush(to) == 0 ? CMD_OK : CMD_OUTPUT;
}

static bool is_word(const char *name, size_t at, const char *word)
{
    size_t n = strlen(word);
    return strncmp(name + at, word, n) == 0 && (name[at + n] == '\0' || name[at + n] == ' ');
}

/* The command whose name the arguments begin with, and how many words it
 * has; `postern token key new` is `postern key new`. */
static const struct cmd *find(int argc, char **argv, int *words)
{
    int skip = argc > 2 && strcmp(argv[1], "token") == 0 && strcmp(argv[2], "key") == 0;
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *name = commands[i]->name;
        int n = 0;
        size_t at = 0;
        while (1 + skip + n < argc && is_word(name, at, argv[1 + skip + n])) {
            at += strlen(argv[1 + skip + n]);
            n++;
            if (name[at] == '\0') {
                *words = skip + n;
                return commands[i];
            }
            at++;
        }
    }
    return NULL;
}

/* "token" alone, or with a word that it does not know. */
static int unknown(int argc, char **argv)
{
    const char *words[COMMANDS], *first = argv[1];
    bool is_group = false;
    for (size_t i = 0; i < COMMANDS; i++)
        is_group = is_group || is_word(commands[i]->name, 0, first);
    if (is_group) {
        for (size_t i = 0; i < COMMANDS; i++)
            if (is_word(commands[i]->name, 0, first))
                (void)fprintf(stderr, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
        (void)fprintf(stderr, "postern: '%s' %s one of these\n", first,
                      argc > 2 ? "knows only" : "needs");
        return CMD_USAGE;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        words[i] = commands[i]->name;
    const char *near = cmd_nearest(first, words, COMMANDS);
    (void)fprintf(stderr, "postern: unknown command '%s'", first);
    if (near)
        (void)fprintf(stderr, "; did you mean '%s'?", near);
    (void)fputs("\nTry 'postern --help'.\n", stderr);
    return CMD_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)help(stderr);
        return CMD_USAGE;
    }
    const char *first = argv[1];
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
        return help(stdout);
    if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0)
        return puts("postern " POSTERN_VERSION) < 0;
    if (strcmp(first, "help") == 0) {
        int words;
        const struct cmd *c = argc > 2 ? find(argc - 1, argv + 1, &words) : NULL;
        char option[] = "--help", *only = option;
        return c ? cmd_main(c, 1, &only) : help(stdout);
    }
    int words;
    const struct cmd *c = find(argc, argv, &words);
    return c ? cmd_main(c, argc - 1 - words, argv + 1 + words) : unknown(argc, argv);
}
