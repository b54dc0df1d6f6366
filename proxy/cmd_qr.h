/* A QR code for a terminal: what a camera is to read instead of fingers
 * typing it. The only user of libqrencode, which a build may be without. */
#ifndef POSTERN_CMD_QR_H
#define POSTERN_CMD_QR_H

#include "../policy/bytes.h"

enum { QR_TEXT_MAX = 1024, QR_PICTURE_MAX = 64 << 10 };

bool qr_is_there(void);
/* Lines of UTF-8 half blocks with the quiet zone that readers want; with
 * `colours` white on black whatever the terminal's are, else light where the
 * foreground is. False: too long, or it is not there. */
MUST_USE bool qr_put(struct bytes text, bool colours, struct buf *out);

#endif
