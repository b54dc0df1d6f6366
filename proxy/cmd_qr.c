#include "cmd_qr.h"

#ifdef POSTERN_HAS_QR

#include <qrencode.h>

enum { QUIET = 4 }; /* ISO/IEC 18004 5.3.8 */

bool qr_is_there(void)
{
    return true;
}

/* What lies outside of the symbol is light. */
static bool is_light(const QRcode *code, int x, int y)
{
    if (x < 0 || y < 0 || x >= code->width || y >= code->width)
        return y < code->width + QUIET;
    return (code->data[y * code->width + x] & 1) == 0;
}

bool qr_put(struct bytes text, bool colours, struct buf *out)
{
    if (text.n == 0 || text.n > QR_TEXT_MAX)
        return false;
    QRcode *code = QRcode_encodeData((int)text.n, text.p, 0, QR_ECLEVEL_L);
    if (!code)
        return false;
    for (int y = -QUIET; y < code->width + QUIET; y += 2) {
        buf_put_str(out, colours ? "\033[40;97m" : "");
        for (int x = -QUIET; x < code->width + QUIET; x++) {
            bool top = is_light(code, x, y), bottom = is_light(code, x, y + 1);
            buf_put_str(out, top && bottom ? "\u2588" : top ? "\u2580" : bottom ? "\u2584" : " ");
        }
        buf_put_str(out, colours ? "\033[0m\n" : "\n");
    }
    memset(code->data, 0, (size_t)code->width * (size_t)code->width);
    QRcode_free(code);
    return !out->full;
}

#else

bool qr_is_there(void)
{
    return false;
}

bool qr_put(struct bytes text, bool colours, struct buf *out)
{
    (void)text, (void)colours, (void)out;
    return false;
}

#endif
