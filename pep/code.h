/* Response codes as CoAP writes them (RFC 7252 3): a class and a detail in a
 * byte. This layer names some and reads some; proxy/msg.h has the messages. */
#ifndef POSTERN_CODE_H
#define POSTERN_CODE_H

#include <stdint.h>

#define CODE(class, detail) ((uint8_t)((class) << 5 | (detail)))

#endif
