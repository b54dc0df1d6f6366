/* An authority's `cnonce`, `exi`, `sequence` and `default-audience`. */
#include "policy_file.h"

enum { RS_ID_MAX = 64, RANGE_MAX = 1 << 20 };

static const char *read_id(struct reader *r, const struct yaml_node *n)
{
    const char *id = NULL;
    if (n && yaml_text(r->y, n, &r->p->arena, &id) && strlen(id) > RS_ID_MAX)
        yaml_error(r->y, n, "an identifier longer than %d bytes", RS_ID_MAX);
    return id;
}

static void read_numeral(struct reader *r, const struct yaml_node *n, enum policy_numeral *out)
{
    static const char *const words[] = {"decimal", "binary"};
    int i;
    if (n && yaml_enum(r->y, n, words, 2, &i))
        *out = i == 0 ? POLICY_DECIMAL : POLICY_BINARY;
}

static void read_exi(struct reader *r, const struct yaml_node *n, struct policy_freshness *out)
{
    struct yaml_map m;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    out->exi_id = read_id(r, yaml_map_need(&m, "rs-id"));
    read_numeral(r, yaml_map_get(&m, "encoding"), &out->exi_numeral);
    yaml_map_close(&m);
}

static void read_sequence(struct reader *r, const struct yaml_node *n, struct policy_freshness *out)
{
    struct yaml_map m;
    int64_t range = POLICY_SEQUENCE_RANGE;
    if (!n || !yaml_map_open(r->y, n, &m))
        return;
    const struct yaml_node *id = yaml_map_get(&m, "rs-id");
    const struct yaml_node *span = yaml_map_get(&m, "range");
    out->sequence_id = id ? read_id(r, id) : "";
    read_numeral(r, yaml_map_get(&m, "encoding"), &out->sequence_numeral);
    if (span && !yaml_int(r->y, span, 1, RANGE_MAX, &range))
        range = 1;
    out->sequence_range = (uint32_t)range;
    yaml_map_close(&m);
}

void read_freshness(struct reader *r, struct yaml_map *authority, struct policy_freshness *out)
{
    static const char *const words[] = {"no", "required"};
    const struct yaml_node *cnonce = yaml_map_get(authority, "cnonce");
    const struct yaml_node *audience = yaml_map_get(authority, "default-audience");
    int i;
    if (cnonce && yaml_enum(r->y, cnonce, words, 2, &i))
        out->cnonce = i == 1;
    read_exi(r, yaml_map_get(authority, "exi"), out);
    read_sequence(r, yaml_map_get(authority, "sequence"), out);
    if (audience)
        yaml_text(r->y, audience, &r->p->arena, &out->audience);
}
