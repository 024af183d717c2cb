/* Memory, texts and the last error. */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

static const char *error_text = "";

const char *hms_error(void) { return error_text; }

bool hms_error_is(const char *code) {
    size_t length = strlen(code);
    return strncmp(error_text, code, length) == 0 && error_text[length] == ':';
}

void *hms_sdk_room(void *old, size_t size) {
    void *room = realloc(old, size);
    if (room == NULL) abort();
    return room;
}

char *hms_sdk_copied(const void *bytes, size_t length) {
    char *copy = hms_sdk_room(NULL, length + 1);
    if (length > 0) memcpy(copy, bytes, length);
    copy[length] = 0;
    return copy;
}

char *hms_sdk_terminated(uint8_t *bytes, size_t length) {
    /* The host gives no memory for nothing. */
    char *text = hms_sdk_room(length == 0 ? NULL : bytes, length + 1);
    text[length] = 0;
    return text;
}

static char *printed(const char *format, va_list values) {
    va_list again;
    va_copy(again, values);
    int length = vsnprintf(NULL, 0, format, values);
    if (length < 0) abort();
    char *text = hms_sdk_room(NULL, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

const char *hms_format(const char *format, ...) {
    va_list values;
    va_start(values, format);
    char *text = printed(format, values);
    va_end(values);
    return text;
}

hms_outcome hms_sdk_failed(const char *code, const char *format, ...) {
    va_list values;
    va_start(values, format);
    char *sentence = printed(format, values);
    va_end(values);
    error_text = hms_format("%s: %s", code, sentence);
    free(sentence);
    return HMS_FAILED;
}

hms_outcome hms_sdk_told(const window_string_t *text) {
    error_text = hms_sdk_copied(text->ptr, text->len);
    return HMS_FAILED;
}

/* How many bytes a character takes by its first byte, and the least and the most of its second:
 * table 3-7 of the Unicode standard. */
static size_t character(unsigned char first, unsigned char *least, unsigned char *most) {
    *least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    *most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF) return 2;
    if (first >= 0xE0 && first <= 0xEF) return 3;
    if (first >= 0xF0 && first <= 0xF4) return 4;
    return 0;
}

/* Bytes of the character at `bytes`, 0 if there is none. */
static size_t character_at(const char *bytes, size_t length) {
    unsigned char least, most;
    size_t size = character((unsigned char)bytes[0], &least, &most);
    if (size == 0 || size > length) return 0;
    for (size_t i = 1; i < size; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte < (i == 1 ? least : 0x80) || byte > (i == 1 ? most : 0xBF)) return 0;
    }
    return size;
}

bool hms_sdk_is_utf8(const char *bytes, size_t length) {
    while (length > 0) {
        size_t size = character_at(bytes, length);
        if (size == 0) return false;
        bytes += size;
        length -= size;
    }
    return true;
}

void hms_sdk_make_utf8(char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        size_t size = character_at(text + at, length - at);
        if (size == 0) text[at++] = '?';
        at += size;
    }
}

char *hms_sdk_text(const void *bytes, size_t length) {
    if (hms_sdk_is_utf8(bytes, length)) return hms_sdk_copied(bytes, length);
    const unsigned char *from = bytes;
    char *text = hms_sdk_room(NULL, 2 * length + 1), *end = text;
    for (size_t i = 0; i < length; i++) {
        if (from[i] < 0x80) {
            *end++ = (char)from[i];
        } else {
            *end++ = (char)(0xC0 | from[i] >> 6);
            *end++ = (char)(0x80 | (from[i] & 0x3F));
        }
    }
    *end = 0;
    return text;
}

hms_outcome hms_sdk_named(const char *part, const char *key) {
    if (!hms_sdk_is_utf8(part, strlen(part)) || !hms_sdk_is_utf8(key, strlen(key))) {
        return hms_sdk_failed("invalid", "a key and the name of a part are texts in UTF-8");
    }
    return HMS_OK;
}

static int hex(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

char *hms_sdk_decoded(const char *text, size_t length, bool plus) {
    char *decoded = hms_sdk_room(NULL, length + 1), *end = decoded;
    for (size_t i = 0; i < length; i++) {
        int high = text[i] == '%' && i + 2 < length ? hex(text[i + 1]) : -1;
        int low = high >= 0 ? hex(text[i + 2]) : -1;
        if (low >= 0) {
            *end++ = (char)(high << 4 | low);
            i += 2;
        } else {
            *end++ = plus && text[i] == '+' ? ' ' : text[i];
        }
    }
    *end = 0;
    size_t size = (size_t)(end - decoded);
    if (strlen(decoded) == size && hms_sdk_is_utf8(decoded, size)) return decoded;
    free(decoded);
    return hms_sdk_copied(text, length);
}

void hms_log(const char *format, ...) {
    va_list values;
    va_start(values, format);
    char *line = printed(format, values);
    va_end(values);
    size_t length = strlen(line);
    hms_sdk_make_utf8(line, length);
    window_string_t context = text_of(""), message = {(uint8_t *)line, length};
    wasi_logging_logging_log(WASI_LOGGING_LOGGING_LEVEL_INFO, &context, &message);
    free(line);
}

const char *hms_config(const char *name) {
    window_string_t asked = text_of(name);
    window_option_string_t found;
    wasi_config_store_error_t error;
    if (!wasi_config_store_get(&asked, &found, &error) || !found.is_some) return NULL;
    return hms_sdk_terminated(found.val.ptr, found.val.len);
}
