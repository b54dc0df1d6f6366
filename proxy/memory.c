#include "memory.h"

#include <malloc.h>

enum { BUFFER_MIN = 16 << 10 };

/* No spare room at the end of the heap: else buffers come to lie there. */
void memory_prepare(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, BUFFER_MIN);
    (void)mallopt(M_TOP_PAD, 0);
#endif
}

void memory_give_back(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}
