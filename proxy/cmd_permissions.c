/* The permissions of a oneM2M token, as commands show them. */
#include <stdio.h>

#include "../pep/m2m_claims.h"
#include "../policy/m2m_words.h"
#include "cmd_claims.h"
#include "cmd_token.h"

enum { SHOWN = 512 };

static void print_list(const char *name, const struct json_node *list)
{
    char text[SHOWN];
    struct bytes one;
    if (!list)
        return;
    printf("  %-9s", name);
    for (size_t i = 0; i < json_node_count(list); i++)
        if (json_node_text(json_node_at(list, i), &one))
            printf("%s %s", i ? "," : "", cmd_safe_text(text, sizeof text, one));
    printf("\n");
}

/* Its operations in words, the rest as it stands. */
static void print_rule(const struct json_node *rule)
{
    uint8_t room[TOKEN_MAX];
    char text[TOKEN_MAX];
    struct buf b = buf_on(room, sizeof room);
    int64_t acop = 0;
    json_node_put(rule, &b);
    printf("  %-9s", "may");
    if (json_node_int(json_node_get(rule, "acop"), &acop))
        for (unsigned op = 1; op <= M2M_OPERATIONS; op++)
            if (acop & M2M_ACOP(op))
                printf(" %s", m2m_operation_str(op));
    printf("  %s\n", cmd_safe_text(text, sizeof text, buf_bytes(&b)));
}

void cmd_print_permissions(struct bytes permissions)
{
    struct json_node *doc = json_doc_read(permissions);
    for (size_t i = 0; i < json_node_count(doc); i++) {
        const struct json_node *p = json_node_at(doc, i), *acr = m2m_permission_rules(p);
        printf("permission %zu\n", i);
        print_list("on", json_node_get(p, "ris"));
        print_list("roles", json_node_get(p, "rids"));
        for (size_t k = 0; k < json_node_count(acr); k++)
            print_rule(json_node_at(acr, k));
    }
    json_doc_free(doc);
}
