/* What an entry of `devices` says of a CSE: `dialect`, `onem2m-options`,
 * `cse-id`, `sp-id`, `cse-base` and `notify`. */
#include "config_read.h"

#include "../policy/url.h"

enum { ID_MAX = 128 };

/* "/mn-cse", "//sp.example", "cb": slashes, then letters, digits, '.', '-' and
 * '_'. What is '-' alone, or begins with '_', means something else in an address. */
static const char *read_id(struct config_reader *r, const struct yaml_node *n, const char *slashes,
                           const char *example)
{
    const char *text;
    if (!n || !yaml_text(r->y, n, &r->l->arena, &text))
        return NULL;
    size_t k = strlen(slashes), len = strlen(text);
    const char *id = text + k;
    bool ok = len > k && len <= ID_MAX && strncmp(text, slashes, k) == 0 && strcmp(id, "-") != 0 &&
              id[0] != '_';
    for (; ok && *id; id++)
        ok = (*id >= 'a' && *id <= 'z') || (*id >= 'A' && *id <= 'Z') ||
             (*id >= '0' && *id <= '9') || *id == '.' || *id == '-' || *id == '_';
    if (ok)
        return text;
    yaml_error(r->y, n, "expected an identifier such as %s", example);
    return NULL;
}

/* A listener of its own, for nobody else: what comes there from the CSE's
 * address is the CSE's. */
static void read_notify(struct config_reader *r, const struct yaml_node *n, struct config_device *d)
{
    struct config *c = &r->l->c;
    const struct device_config *u = &d->upstream;
    for (size_t i = 0; i < u->n_urls; i++)
        if (u->urls[i].host && u->urls[i].to.len == 0) {
            yaml_error(r->y, n,
                       "notifications are known by the CSE's address, so its url must have one "
                       "instead of '%s'",
                       u->urls[i].host);
            return;
        }
    if (c->n_listeners == CONFIG_LISTENERS_MAX) {
        yaml_error(r->y, n, "more than %d listeners", CONFIG_LISTENERS_MAX);
        return;
    }
    size_t at = c->n_listeners;
    struct config_listener *l = &c->listeners[at];
    config_read_listener(r, n, l);
    if (c->n_listeners == at)
        return;
    if (l->secure || (l->tcp && !l->http))
        yaml_error(r->y, n,
                   "notifications come by coap or http, such as coap://127.0.0.1:5690 or "
                   "http://127.0.0.1:5690");
    l->notifies = (int)c->n_devices + 1;
    d->cse.notify = (int)at;
}

void config_read_m2m(struct config_reader *r, struct yaml_map *m, const struct yaml_node *cache,
                     struct config_device *d)
{
    static const char *const dialects[] = {"coap", "onem2m"};
    static const char *const numberings[] = {[M2M_CURRENT] = "current", [M2M_LEGACY] = "legacy"};
    const struct yaml_node *dialect = yaml_map_get(m, "dialect");
    const struct yaml_node *options = yaml_map_get(m, "onem2m-options");
    const struct yaml_node *id = yaml_map_get(m, "cse-id"), *sp = yaml_map_get(m, "sp-id");
    const struct yaml_node *base = yaml_map_get(m, "cse-base");
    const struct yaml_node *notify = yaml_map_get(m, "notify");
    const struct yaml_node *any = options  ? options
                                  : id     ? id
                                  : sp     ? sp
                                  : base   ? base
                                  : notify ? notify
                                           : NULL;
    int word = 0;
    d->cse.notify = -1;
    if (dialect && !yaml_enum(r->y, dialect, dialects, 2, &word))
        return;
    if (word == 0) {
        if (any)
            yaml_error(r->y, any, "this is said of devices with `dialect: onem2m`");
        return;
    }
    d->upstream.cse = &d->cse;
    /* What a CSE answers depends on who asks, and options do not say it all
     * to a cache. */
    d->upstream.cache = CACHE_NO;
    if (cache && !bytes_equal_str(yaml_raw(cache), "no"))
        yaml_error(r->y, cache, "what a CSE answers is not kept: say no, or nothing");
    if (options && yaml_enum(r->y, options, numberings, 2, &word))
        d->cse.options = (enum m2m_numbering)word;
    d->cse.id = read_id(r, id, "/", "/mn-cse");
    d->cse.sp = read_id(r, sp, "//", "//sp.example");
    d->cse.base = read_id(r, base, "", "cse-in");
    if (sp && !id)
        yaml_error(r->y, sp, "'sp-id' needs 'cse-id'");
    if (notify && !id)
        yaml_error(r->y, notify, "'notify' needs 'cse-id', by which the policy knows the CSE");
    else if (notify)
        read_notify(r, notify, d);
    d->cse_line = yaml_line(r->y, notify);
}
