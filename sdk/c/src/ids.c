/* Ids that sort by time, the clock, and a pause. */
/* clock_gettime(), nanosleep() and getentropy() are beyond C17. */
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>

#include "internal.h"

uint64_t hms_now_ms(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) abort();
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void hms_sleep_ms(uint64_t ms) {
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

const char *hms_new_id(void) {
    unsigned char bytes[16];
    if (getentropy(bytes + 6, 10) != 0) abort();
    uint64_t ms = hms_now_ms();
    for (int i = 0; i < 6; i++) bytes[i] = (unsigned char)(ms >> (40 - 8 * i));
    bytes[6] = (bytes[6] & 0x0F) | 0x70;
    bytes[8] = (bytes[8] & 0x3F) | 0x80;
    static const char digits[] = "0123456789abcdef";
    char *id = hms_sdk_room(NULL, 37), *end = id;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *end++ = '-';
        *end++ = digits[bytes[i] >> 4];
        *end++ = digits[bytes[i] & 15];
    }
    *end = 0;
    return id;
}
