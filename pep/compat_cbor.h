/* What differs between libcbor 0.8 and 0.10. Included by cbor.c only. */
#ifndef POSTERN_COMPAT_CBOR_H
#define POSTERN_COMPAT_CBOR_H

#include <cbor.h>

#if CBOR_MAJOR_VERSION == 0 && CBOR_MINOR_VERSION < 10
typedef size_t compat_cbor_len;
#else
typedef uint64_t compat_cbor_len;
#endif

#endif
