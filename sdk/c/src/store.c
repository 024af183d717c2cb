/* The store: single keys, pages, batches, counters and compare-and-set. */
#include "internal.h"

/* Each failure means that another instance has succeeded: so many in a row are a crowd at one key.
 */
#define UPDATE_TRIES 64

hms_outcome hms_sdk_store_failed(const wasi_keyvalue_store_error_t *error) {
    if (error->tag == WASI_KEYVALUE_STORE_ERROR_OTHER) return hms_sdk_told(&error->val.other);
    return hms_sdk_failed("store-unavailable", "the store cannot be opened");
}

/* The part of the store that was used last is kept open. */
static hms_outcome opened(const char *part, const char *key,
                          wasi_keyvalue_store_borrow_bucket_t *bucket) {
    static char *name;
    static wasi_keyvalue_store_own_bucket_t open;
    if (hms_sdk_named(part, key) != HMS_OK) return HMS_FAILED;
    if (name == NULL || strcmp(name, part) != 0) {
        if (name != NULL) wasi_keyvalue_store_bucket_drop_own(open);
        free(name);
        name = NULL;
        window_string_t asked = text_of(part);
        wasi_keyvalue_store_error_t error;
        if (!wasi_keyvalue_store_open(&asked, &open, &error)) return hms_sdk_store_failed(&error);
        name = hms_sdk_copied(part, strlen(part));
    }
    *bucket = wasi_keyvalue_store_borrow_bucket(open);
    return HMS_OK;
}

hms_outcome hms_get(const char *part, const char *key, const char **value, size_t *length) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, key, &bucket) != HMS_OK) return HMS_FAILED;
    window_string_t asked = text_of(key);
    window_option_list_u8_t found;
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_store_method_bucket_get(bucket, &asked, &found, &error)) {
        return hms_sdk_store_failed(&error);
    }
    if (!found.is_some) return HMS_NONE;
    *value = hms_sdk_terminated(found.val.ptr, found.val.len);
    if (length != NULL) *length = found.val.len;
    return HMS_OK;
}

hms_outcome hms_exists(const char *part, const char *key) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, key, &bucket) != HMS_OK) return HMS_FAILED;
    window_string_t asked = text_of(key);
    bool exists;
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_store_method_bucket_exists(bucket, &asked, &exists, &error)) {
        return hms_sdk_store_failed(&error);
    }
    return exists ? HMS_OK : HMS_NONE;
}

hms_outcome hms_set(const char *part, const char *key, const void *value, size_t length) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, key, &bucket) != HMS_OK) return HMS_FAILED;
    window_string_t asked = text_of(key);
    window_list_u8_t bytes = {(uint8_t *)value, length};
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_store_method_bucket_set(bucket, &asked, &bytes, &error)) {
        return hms_sdk_store_failed(&error);
    }
    return HMS_OK;
}

hms_outcome hms_delete(const char *part, const char *key) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, key, &bucket) != HMS_OK) return HMS_FAILED;
    window_string_t asked = text_of(key);
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_store_method_bucket_delete(bucket, &asked, &error)) {
        return hms_sdk_store_failed(&error);
    }
    return HMS_OK;
}

hms_outcome hms_increment(const char *part, const char *key, int64_t by, int64_t *sum) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, key, &bucket) != HMS_OK) return HMS_FAILED;
    window_string_t asked = text_of(key);
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_atomics_increment(bucket, &asked, by, sum, &error)) {
        return hms_sdk_store_failed(&error);
    }
    return HMS_OK;
}

/* The keys as the host takes them, or NULL if one is none. */
static window_string_t *texts(const char *const *keys, size_t count) {
    window_string_t *texts = hms_sdk_room(NULL, (count + 1) * sizeof *texts);
    for (size_t i = 0; i < count; i++) {
        if (hms_sdk_named("", keys[i]) != HMS_OK) return NULL;
        texts[i] = text_of(keys[i]);
    }
    return texts;
}

hms_outcome hms_get_many(const char *part, const char *const *keys, size_t count,
                         hms_entry *entries) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, "", &bucket) != HMS_OK) return HMS_FAILED;
    window_list_string_t asked = {texts(keys, count), count};
    if (asked.ptr == NULL) return HMS_FAILED;
    window_list_tuple2_string_option_list_u8_t found;
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_batch_get_many(bucket, &asked, &found, &error))
        return hms_sdk_store_failed(&error);
    for (size_t i = 0; i < count && i < found.len; i++) {
        window_option_list_u8_t *value = &found.ptr[i].f1;
        entries[i] = (hms_entry){.key = keys[i]};
        if (!value->is_some) continue;
        entries[i].value = hms_sdk_terminated(value->val.ptr, value->val.len);
        entries[i].length = value->val.len;
    }
    return HMS_OK;
}

hms_outcome hms_set_many(const char *part, const hms_entry *entries, size_t count) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, "", &bucket) != HMS_OK) return HMS_FAILED;
    window_tuple2_string_list_u8_t *pairs = hms_sdk_room(NULL, (count + 1) * sizeof *pairs);
    for (size_t i = 0; i < count; i++) {
        if (hms_sdk_named(part, entries[i].key) != HMS_OK) return HMS_FAILED;
        pairs[i].f0 = text_of(entries[i].key);
        pairs[i].f1 = (window_list_u8_t){(uint8_t *)entries[i].value, entries[i].length};
    }
    window_list_tuple2_string_list_u8_t all = {pairs, count};
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_batch_set_many(bucket, &all, &error)) return hms_sdk_store_failed(&error);
    return HMS_OK;
}

hms_outcome hms_delete_many(const char *part, const char *const *keys, size_t count) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, "", &bucket) != HMS_OK) return HMS_FAILED;
    window_list_string_t all = {texts(keys, count), count};
    if (all.ptr == NULL) return HMS_FAILED;
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_batch_delete_many(bucket, &all, &error)) return hms_sdk_store_failed(&error);
    return HMS_OK;
}

/* The host chooses the size of its pages and hands out cursors that say nothing to us; what a
 * client asks for is smaller. So our cursor is `LENGTH.KEY` of the last key taken, and the host's
 * cursor of its page. */
static bool read_cursor(const char *cursor, const char **last, size_t *length, const char **host) {
    size_t digits = strspn(cursor, "0123456789");
    if (digits == 0 || digits > 4 || cursor[digits] != '.') return false;
    const char *rest = cursor + digits + 1;
    *length = (size_t)strtoul(cursor, NULL, 10);
    if (*length > strlen(rest)) return false;
    *last = rest;
    *host = rest[*length] == 0 ? NULL : rest + *length;
    return hms_sdk_is_utf8(rest, *length) &&
           hms_sdk_is_utf8(rest + *length, strlen(rest + *length));
}

/* Whether a key comes after the last one, by their bytes. */
static bool is_after(const window_string_t *key, const char *last, size_t length) {
    size_t shorter = key->len < length ? key->len : length;
    int order = memcmp(key->ptr, last, shorter);
    return order > 0 || (order == 0 && key->len > length);
}

hms_outcome hms_list(const char *part, const char *cursor, size_t limit, hms_page *page) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, "", &bucket) != HMS_OK) return HMS_FAILED;
    const char *last = NULL, *host = NULL;
    size_t length = 0, room = 0;
    if (cursor != NULL && !read_cursor(cursor, &last, &length, &host)) {
        return hms_sdk_failed("invalid-cursor", "use the 'next' of a listing");
    }
    if (limit == 0) limit = 1;
    *page = (hms_page){0};
    for (;;) {
        window_string_t from = text_of(host == NULL ? "" : host);
        wasi_keyvalue_store_key_response_t found;
        wasi_keyvalue_store_error_t error;
        if (!wasi_keyvalue_store_method_bucket_list_keys(bucket, host == NULL ? NULL : &from,
                                                         &found, &error)) {
            return hms_sdk_store_failed(&error);
        }
        for (size_t i = 0; i < found.keys.len; i++) {
            window_string_t *key = &found.keys.ptr[i];
            if (last != NULL && !is_after(key, last, length)) continue;
            if (page->count == limit) {
                const char *taken = page->keys[limit - 1];
                page->next = hms_format("%zu.%s%s", strlen(taken), taken, host == NULL ? "" : host);
                return HMS_OK;
            }
            if (page->count == room) {
                room = room == 0 ? 16 : room * 2;
                page->keys = hms_sdk_room(page->keys, room * sizeof *page->keys);
            }
            page->keys[page->count++] = hms_sdk_copied(key->ptr, key->len);
        }
        if (!found.cursor.is_some) return HMS_OK;
        host = hms_sdk_copied(found.cursor.val.ptr, found.cursor.val.len);
        wasi_keyvalue_store_key_response_free(&found);
    }
}

/* One try of a change: HMS_NONE if another instance was faster, and then `cas` is of its value. */
static hms_outcome swap(wasi_keyvalue_atomics_own_cas_t *cas, const void *value, size_t length) {
    window_list_u8_t bytes = {(uint8_t *)value, length};
    wasi_keyvalue_atomics_cas_error_t error;
    if (wasi_keyvalue_atomics_swap(*cas, &bytes, &error)) return HMS_OK;
    if (error.tag == WASI_KEYVALUE_ATOMICS_CAS_ERROR_STORE_ERROR) {
        return hms_sdk_store_failed(&error.val.store_error);
    }
    *cas = error.val.cas_failed;
    return HMS_NONE;
}

/* What is at the key, NULL for nothing. */
static hms_outcome current(wasi_keyvalue_atomics_own_cas_t cas, hms_entry *entry) {
    window_option_list_u8_t found;
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_atomics_method_cas_current(wasi_keyvalue_atomics_borrow_cas(cas), &found,
                                                  &error)) {
        return hms_sdk_store_failed(&error);
    }
    entry->value = found.is_some ? hms_sdk_terminated(found.val.ptr, found.val.len) : NULL;
    entry->length = found.is_some ? found.val.len : 0;
    return HMS_OK;
}

static hms_outcome watched(const char *part, const char *key,
                           wasi_keyvalue_atomics_own_cas_t *cas) {
    wasi_keyvalue_store_borrow_bucket_t bucket;
    if (opened(part, key, &bucket) != HMS_OK) return HMS_FAILED;
    window_string_t asked = text_of(key);
    wasi_keyvalue_store_error_t error;
    if (!wasi_keyvalue_atomics_static_cas_new(bucket, &asked, cas, &error)) {
        return hms_sdk_store_failed(&error);
    }
    return HMS_OK;
}

hms_outcome hms_update(const char *part, const char *key,
                       bool (*change)(hms_entry *entry, void *data), void *data) {
    wasi_keyvalue_atomics_own_cas_t cas;
    if (watched(part, key, &cas) != HMS_OK) return HMS_FAILED;
    for (int tries = 0; tries < UPDATE_TRIES; tries++) {
        hms_entry entry = {.key = key};
        if (current(cas, &entry) != HMS_OK) return HMS_FAILED;
        if (!change(&entry, data)) return HMS_NONE;
        hms_outcome outcome = swap(&cas, entry.value, entry.length);
        if (outcome != HMS_NONE) return outcome;
    }
    return hms_sdk_failed("contended", "too many instances change '%s' at once", key);
}

hms_outcome hms_compare_and_set(const char *part, const char *key, const hms_entry *old,
                                const void *value, size_t length) {
    wasi_keyvalue_atomics_own_cas_t cas;
    hms_entry now;
    if (watched(part, key, &cas) != HMS_OK || current(cas, &now) != HMS_OK) return HMS_FAILED;
    bool is_there = old != NULL && old->value != NULL;
    if (is_there != (now.value != NULL)) return HMS_NONE;
    if (is_there && (now.length != old->length || memcmp(now.value, old->value, now.length) != 0)) {
        return HMS_NONE;
    }
    return swap(&cas, value, length);
}

void hms_store_problem(hms_response *response) {
    if (hms_error_is("invalid-cursor")) {
        hms_bad_request(response, "invalid cursor: use the 'next' of a listing");
    } else if (hms_error_is("store-full")) {
        hms_problem(response, 507, "store-full", "the window's store is full");
    } else if (hms_error_is("outbox-full")) {
        hms_problem(response, 507, "outbox-full", "the window's outbox is full");
    } else if (hms_error_is("unknown")) {
        hms_log("the store: %s", hms_error());
        hms_set_header(response, "retry-after", "2");
        hms_problem(response, 503, "outcome-unknown",
                    "it is not known whether this was done: check before you retry");
    } else if (hms_error_is("store-unavailable") || hms_error_is("contended")) {
        hms_log("the store: %s", hms_error());
        hms_set_header(response, "retry-after", "2");
        hms_problem(response, 503, "store-unavailable",
                    "the window's store is unavailable; retry shortly");
    } else {
        hms_internal(response, hms_format("the store: %s", hms_error()));
    }
}
