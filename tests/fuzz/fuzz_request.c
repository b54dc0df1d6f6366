/* The door of a certificate request: any bytes are refused, or a key of which
 * a certificate can be made. */
#include <stdlib.h>

#include "../../proxy/certify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[512], pem[CERTIFY_PEM_MAX];
    uint8_t fingerprint[CERTIFY_FINGERPRINT];
    struct buf diag = buf_on(text, sizeof text), out = buf_on(pem, sizeof pem);
    const struct certify_names names = {.common = "x", .dns = {"x.y"}, .n_dns = 1};
    struct certify *c = certify_new(&diag);
    if (!c || size > CERTIFY_REQUEST_MAX) {
        certify_free(c);
        return 0;
    }
    bool taken = certify_take_request(c, bytes_of(data, size), &diag);
    if (taken == (diag.n > 0))
        abort();
    if (taken && (!certify_make_ca(c, "ca", 1700000000, 4000000000, &diag) ||
                  !certify_sign(c, &names, 1700000000, 3900000000, &out, fingerprint, &diag)))
        abort();
    certify_free(c);
    return 0;
}
