#include "m2m_ask.h"

#include <arpa/inet.h>

#include "json_write.h"
#include "question.h"

enum { FORMAT_RES_JSON = 10001, FORMAT_NTFY_JSON = 10003 }; /* vnd.onem2m-...+json */

void m2m_ask_put_address(struct buf *out, const char *name, const struct policy_peer *peer)
{
    char text[INET6_ADDRSTRLEN];
    int family = peer->family == 4 ? AF_INET : AF_INET6;
    if ((peer->family != 4 && peer->family != 6) ||
        !inet_ntop(family, peer->addr, text, sizeof text))
        return;
    json_write_name(out, name);
    buf_put_u8(out, '{');
    json_write_text_of(out, peer->family == 4 ? "ip4" : "ip6", bytes_str(text));
    buf_put_u8(out, '}');
}

int m2m_ask_operation(enum m2m_operation o)
{
    return o == M2M_DISCOVERY ? M2M_RETRIEVE : (int)o;
}

bool m2m_ask_is_json(int format)
{
    return format == PEP_FORMAT_JSON || format == PEP_FORMAT_NONE || format == FORMAT_RES_JSON ||
           format == FORMAT_NTFY_JSON;
}

bool m2m_ask_succeeded(uint8_t code, uint16_t rsc)
{
    return code >> 5 == 2 && (rsc == 0 || rsc / 1000 == 2);
}
