/* What a stranger's first records may hold: any bytes at the readers of a TLS
 * record. Each is a view into it, within the bounds that pep is promised. */
#include <stdlib.h>

#include "../../proxy/limits.h"
#include "../../proxy/tls_peek.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(struct bytes identity, struct bytes record)
{
    if (identity.n == 0)
        return;
    if (identity.n > IDENTITY_MAX || identity.p < record.p ||
        identity.p + identity.n > record.p + record.n)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    struct bytes record = bytes_of(size ? copy : NULL, size);
    within(tls_peek_key_exchange(record), record);
    size_t n = 0;
    for (struct bytes identity; n < size && (identity = tls_peek_hello(record, n)).n > 0; n++)
        within(identity, record);
    (void)tls_peek_suite(record);
    if (size >= TLS_RECORD_HEADER && tls_record_length(copy) > TLS_RECORD_HEADER + TLS_RECORD_MAX)
        abort();
    free(copy);
    return 0;
}
