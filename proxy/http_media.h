/* Content-Formats of CoAP (RFC 7252 12.3 and the registry) and the media types
 * of HTTP that they stand for. Pure. */
#ifndef POSTERN_HTTP_MEDIA_H
#define POSTERN_HTTP_MEDIA_H

#include "../policy/bytes.h"

enum http_media_kind {
    HTTP_MEDIA_UNKNOWN = 0, /* well-formed, and of no Content-Format */
    HTTP_MEDIA_KNOWN,
    HTTP_MEDIA_BAD, /* not a media type at all */
};

/* The media type, as it goes into a header; NULL: nobody knows the format. */
const char *http_media_of(uint32_t format);

/* The format of a Content-Type: type and subtype without regard to case, and
 * parameters where the registry has them (a text's charset; cose-type). Other
 * parameters are not looked at. */
enum http_media_kind http_media_format(struct bytes content_type, uint16_t *format);

#endif
