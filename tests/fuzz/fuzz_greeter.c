/* The door for strangers: any datagram at the greeter and at the readers of
 * records. Each keeps no state, and answers with no more than it was sent. */
#include <stdlib.h>

#include "../../proxy/dtls.h"
#include "../../proxy/key_exchange.h"
#include "../support_dtls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig *rig;
    if (!rig)
        rig = rig_new(NULL, NULL, NULL);
    struct bytes datagram = bytes_of(data, size), record;
    struct peer from = rig_peer("192.0.2.1", 5000);
    uint8_t storage[256];
    struct buf out = buf_on(storage, sizeof storage);
    enum dtls_greeting g = dtls_greet(assocs_dtls(rig->assocs), &from, datagram, rig->now, &out);
    /* Nobody guesses a cookie; who is answered has sent more. */
    if (g == DTLS_GREET_WELCOME || (g == DTLS_GREET_ANSWER && out.n > size) ||
        (g == DTLS_GREET_ANSWER && !dtls_is_client_hello(datagram)))
        abort();
    for (struct bytes rest = datagram; dtls_take_record(&rest, true, &record);)
        if (dtls_record_type(record) == DTLS_WITH_CID &&
            (dtls_record_cid(record).p + DTLS_CID > record.p + record.n ||
             dtls_record_number(record) >> 48 != 0))
            abort();
    struct key_exchange k;
    key_exchange_init(&k, 1);
    while (dtls_next_record(&datagram, &record))
        if (dtls_record_is_sound(record) && key_exchange_take(&k, record) == KEY_EXCHANGE_WHOLE &&
            key_exchange_identity(&k).n > IDENTITY_MAX)
            abort();
    return 0;
}
