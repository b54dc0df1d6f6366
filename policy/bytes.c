#include "bytes.h"

void bytes_copy(void *to, const void *from, size_t n)
{
    memcpy(to, from, n);
}
