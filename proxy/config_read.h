/* What the files that read postern.yaml share. Not for others. */
#ifndef POSTERN_CONFIG_READ_H
#define POSTERN_CONFIG_READ_H

#include "../policy/yaml.h"
#include "config.h"

/* The configuration with what it points into. */
struct loaded {
    struct config c; /* first: config_free() is given this */
    struct arena arena;
    struct config_device *devices;
    const char *shown;  /* the file as the operator named it, for diagnostics */
    const char *policy; /* the policy's file as the configuration names it */
};

struct config_reader {
    struct yaml *y;
    struct loaded *l;
};

/* ---- config_values.c; false or NULL: reported, or n is NULL ---- */

const char *config_join(struct arena *a, const char *dir, const char *file);
bool config_read_path(struct config_reader *r, const struct yaml_node *n, const char **out);
/* A file that must be there and readable; with `secret`, by few. */
const char *config_read_file(struct config_reader *r, const struct yaml_node *n, bool secret);
bool config_check_dir(struct config_reader *r, const struct yaml_node *n, const char *dir);
/* A file that is to be made or written in a directory that is there. */
const char *config_read_place(struct config_reader *r, const struct yaml_node *n);
/* "30s", "5m", "24h", "7d". */
bool config_read_duration(struct config_reader *r, const struct yaml_node *n, uint64_t min_s,
                          uint64_t max_s, uint64_t *out);
/* "200ms", "2s"; at most DEVICE_PAUSE_MAX_MS. */
void config_read_pause(struct config_reader *r, const struct yaml_node *n, unsigned *out_ms);
/* "262144", "256K", "64M", "1G". */
bool config_read_bytes(struct config_reader *r, const struct yaml_node *n, uint64_t min,
                       uint64_t max, uint64_t *out);
void config_read_size(struct config_reader *r, const struct yaml_node *n, int64_t max, size_t *out);
/* NULL, or why there is no address. The peer is zeroed first: it is compared
 * byte for byte. */
const char *config_resolve(const char *host, int port, bool numeric, struct peer *out);

/* ---- config_ship.c: audit: {ship: ...}, after `state`; NULL is fine ---- */

void config_read_ship(struct config_reader *r, const struct yaml_node *n);

/* ---- config.c ---- */

/* Counted with the others if it can be read. */
void config_read_listener(struct config_reader *r, const struct yaml_node *n,
                          struct config_listener *out);

/* ---- config_devices.c ---- */

void config_read_devices(struct config_reader *r, const struct yaml_node *n);
/* Segments of a raw path; NULL with n 0 when there are none or on error. */
const struct bytes *config_read_segments(struct config_reader *r, const struct yaml_node *n,
                                         struct bytes path, size_t *count);

/* ---- config_urls.c ---- */

/* Asks the map of a device for what says where it is. */
void config_read_where(struct config_reader *r, const struct yaml_node *n, struct yaml_map *m,
                       struct config_device *d);
void config_forget_secrets(struct config_device *d);

/* ---- config_m2m.c ---- */

/* Asks the map of a device for what says that it is a CSE, and which; after
 * where it is. */
void config_read_m2m(struct config_reader *r, struct yaml_map *m, const struct yaml_node *cache,
                     struct config_device *d);

/* ---- config_loop.c ---- */

/* The listener of ours that the URL leads to, or NULL. */
const struct config_listener *config_find_loop(const struct config *c, const struct device_url *u);

enum config_ports {
    COAP_PORT = 5683, /* RFC 7252 12.6, 12.7 */
    COAPS_PORT = 5684,
    HTTP_PORT = 80, /* RFC 9110 4.2 */
    HTTPS_PORT = 443,
};

#endif
