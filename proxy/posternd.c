/* The daemon: arguments, order of start, order of stop. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "admin.h"
#include "log.h"
#include "memory.h"
#include "notify.h"
#include "restart.h"
#include "setup.h"

static const char usage[] =
    "usage: posternd [-c FILE] [-n] [-v | -q]\n"
    "\n"
    "  -c, --config FILE  configuration (" CONFIG_FILE_DEFAULT ")\n"
    "  -n, --check        check configuration, policy and keys, and exit\n"
    "  -v, --verbose      log more\n"
    "  -q, --quiet        log warnings and errors only\n"
    "  -V, --version      print the version and exit\n"
    "  -h, --help         print this and exit\n"
    "\n"
    "Exit status: 0 stopped as asked, or the check passed; 64 misused; 78 bad\n"
    "configuration, policy or keys; 71 a socket, a file or the loop failed.\n"
    "See posternd(8), postern.yaml(5), postern-policy(5).\n";

static void on_reload(void *user, int signo)
{
    (void)signo;
    struct admin *a = user;
    notify_reloading(loop_now(worker_loop(workers_first(a->workers))));
    char text[ADMIN_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    (void)admin_reload(a, loop_now(worker_loop(workers_first(a->workers))), &diag); /* it logs */
    notify("READY=1");
}

static void on_stop(void *user, int signo)
{
    struct admin *a = user;
    log_event(LOG_LEVEL_INFO, "stopping", "signal", LOG_U(signo), NULL);
    notify("STOPPING=1");
    workers_stop(a->workers);
}

static int complain(struct buf *diag, int status)
{
    diag->full = false; /* what fitted is better than nothing */
    (void)fwrite(diag->p, 1, diag->n, stderr);
    if (diag->n > 0 && diag->p[diag->n - 1] != '\n')
        (void)fputc('\n', stderr);
    return status;
}

static void say_ready(const struct admin *a)
{
    for (size_t i = 0; i < a->config->n_listeners; i++)
        log_event(LOG_LEVEL_INFO, "listening", "on", a->config->listeners[i].text, NULL);
    log_event(LOG_LEVEL_INFO, "ready", "version", POSTERN_VERSION, "policy",
              policy_hash(pep_policy(a->pep)), "devices", LOG_U(a->config->n_devices), NULL);
    if (policy_mode(pep_policy(a->pep)) == POLICY_REPORT)
        log_event(LOG_LEVEL_WARN, "report-mode", "denials", "are recorded and let pass", NULL);
    struct revocations_stats revoked;
    revocations_get_stats(pep_revocations(a->pep), &revoked);
    if (revoked.corrupt > 0)
        log_event(LOG_LEVEL_ERROR, "damaged-revocations", "records", LOG_U(revoked.corrupt), NULL);
    if (geteuid() == 0)
        log_event(LOG_LEVEL_WARN, "running-as-root", "need", "none", NULL);
    notify("READY=1\nSTATUS=serving");
}

static bool take_signals(struct admin *a)
{
    struct loop *l = worker_loop(workers_first(a->workers));
    return loop_signal(l, SIGHUP, on_reload, a) && loop_signal(l, SIGTERM, on_stop, a) &&
           loop_signal(l, SIGINT, on_stop, a);
}

static int serve(struct setup *s, int64_t now_s, struct buf *diag)
{
    const struct config *c = s->config;
    struct admin a = {.config = c, .pep = s->pep, .started_s = now_s, .loaded_s = now_s};
    struct control *control = NULL;
    bool ok = !c->audit || (a.audit = audit_sink_open(c->audit, &c->ship, c->workers, diag));
    ok = ok && (a.workers = workers_new(s, a.audit, diag));
    ok = ok &&
         (!c->control || (control = control_new(c->control, worker_loop(workers_first(a.workers)),
                                                admin_answer, &a, diag)));
    if (ok && take_signals(&a)) {
        restart_load(c, s->store, a.workers);
        say_ready(&a);
        ok = workers_run(a.workers);
        if (ok)
            restart_save(c, a.workers);
        log_event(LOG_LEVEL_INFO, "stopped", "clean", ok ? "yes" : "no", NULL);
    } else {
        ok = false;
    }
    control_free(control);
    workers_free(a.workers);
    audit_sink_close(a.audit);
    return ok ? EX_OK : complain(diag, EX_OSERR);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check", no_argument, NULL, 'n'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *file = CONFIG_FILE_DEFAULT;
    enum log_level level = LOG_LEVEL_INFO;
    bool check = false;
    for (int o; (o = getopt_long(argc, argv, "c:nvqVh", options, NULL)) != -1;) {
        switch (o) {
        case 'c':
            file = optarg;
            break;
        case 'n':
            check = true;
            break;
        case 'v':
            level = LOG_LEVEL_DEBUG;
            break;
        case 'q':
            level = LOG_LEVEL_WARN;
            break;
        case 'V':
            return puts("posternd " POSTERN_VERSION) < 0;
        case 'h':
            return fputs(usage, stdout) < 0;
        default:
            return fputs(usage, stderr) < 0 ? EX_IOERR : EX_USAGE;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "posternd: unexpected argument '%s'\n%s", argv[optind], usage);
        return EX_USAGE;
    }
    memory_prepare();
    log_open(level);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is as a full disk */

    char text[SETUP_DIAG_MAX];
    struct buf diag = buf_on(text, sizeof text);
    struct setup s = {0};
    int64_t now_s = time(NULL);
    if (check)
        return complain(&diag, setup_check(file, now_s, &diag) ? EX_OK : EX_CONFIG);
    if (!setup_open(&s, file, true, now_s, &diag))
        return complain(&diag, EX_CONFIG);
    int status = serve(&s, now_s, &diag);
    setup_close(&s);
    return status;
}
