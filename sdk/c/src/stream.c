/* Bodies, as the host reads and writes them. */
#include "internal.h"

/* What a write of WASI 0.2 takes at once. */
#define WRITE 4096

hms_outcome hms_sdk_read(wasi_io_streams_own_input_stream_t stream, bool *ended, void *buffer,
                         size_t size, size_t *length) {
    *length = 0;
    while (*length < size && !*ended) {
        size_t rest = size - *length;
        window_list_u8_t chunk;
        wasi_io_streams_stream_error_t error;
        if (!wasi_io_streams_method_input_stream_blocking_read(
                wasi_io_streams_borrow_input_stream(stream), rest < CHUNK ? rest : CHUNK, &chunk,
                &error)) {
            *ended = true;
            if (error.tag == WASI_IO_STREAMS_STREAM_ERROR_CLOSED) break;
            return hms_sdk_failed("broken", "the body broke off");
        }
        if (chunk.len > 0) memcpy((char *)buffer + *length, chunk.ptr, chunk.len);
        *length += chunk.len;
        window_list_u8_free(&chunk);
    }
    return *length == 0 && size > 0 ? HMS_NONE : HMS_OK;
}

bool hms_sdk_write(wasi_io_streams_own_output_stream_t stream, const void *bytes, size_t length) {
    for (size_t at = 0; at < length; at += WRITE) {
        size_t rest = length - at;
        window_list_u8_t chunk = {(uint8_t *)bytes + at, rest < WRITE ? rest : WRITE};
        wasi_io_streams_stream_error_t error;
        if (!wasi_io_streams_method_output_stream_blocking_write_and_flush(
                wasi_io_streams_borrow_output_stream(stream), &chunk, &error)) {
            return false;
        }
    }
    return true;
}

bool hms_sdk_append(wasi_http_types_own_fields_t fields, const char *name, const char *value) {
    window_string_t field = text_of(name);
    wasi_http_types_field_value_t bytes = {(uint8_t *)value, strlen(value)};
    wasi_http_types_header_error_t refused;
    return wasi_http_types_method_fields_append(wasi_http_types_borrow_fields(fields), &field,
                                                &bytes, &refused);
}
