/* Parts of a window's own work, in the traces of its requests. */
#include "internal.h"

uint32_t hms_span_begin(const char *name) {
    char *text = hms_sdk_copied(name, strlen(name));
    hms_sdk_make_utf8(text, strlen(text));
    window_string_t part = text_of(text);
    uint32_t number = hms_telemetry_spans_begin(&part);
    free(text);
    return number;
}

void hms_span_end(uint32_t part, bool failed) {
    if (part != 0) hms_telemetry_spans_end(part, failed);
}
