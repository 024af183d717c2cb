/* Changes of several keys, and events, that are committed together or not at all. */
#include <errno.h>
#include <inttypes.h>

#include "internal.h"

#define TRIES 64
#define MAX_READS 256
#define MAX_CHANGES 1024
#define MAX_EVENTS 256
/* A version that no key has: a check of it never holds. */
#define NEVER "0"

/* A key that was read, as the store has it. */
typedef struct {
    hms_store_transactions_place_t at;
    bool exists;
    window_string_t version;
    const char *value;
    size_t length;
} seen;

struct hms_tx {
    seen *seen;
    size_t reads;
    hms_store_transactions_change_t *changes;
    size_t writes;
    hms_store_transactions_event_t *events;
    size_t emits;
    window_string_t *cancels;
    size_t cancelled;
    const char *once;
    /* Something was refused, and hms_error() says what. */
    bool failed;
};

static hms_outcome refused(hms_tx *tx, hms_outcome outcome) {
    tx->failed = tx->failed || outcome == HMS_FAILED;
    return outcome;
}

static char *kept(const char *text) { return hms_sdk_copied(text, strlen(text)); }

static window_option_string_t kept_option(const char *text) {
    return option_of(text == NULL ? NULL : kept(text));
}

/* The error of the host, as hms_error(). */
static hms_outcome host_failed(const hms_store_transactions_error_t *error) {
    const window_string_t *text = &error->val.other;
    switch (error->tag) {
        case HMS_STORE_TRANSACTIONS_ERROR_CONFLICT:
            return hms_sdk_failed("contended", "too many instances change it at once");
        case HMS_STORE_TRANSACTIONS_ERROR_NOT_A_NUMBER: {
            const window_string_t *key = &error->val.not_a_number.key;
            return hms_sdk_failed(
                "invalid", "the value of '%.*s' is not a number of 64 bits, or would not be one",
                (int)key->len, (const char *)key->ptr);
        }
        case HMS_STORE_TRANSACTIONS_ERROR_TOO_LARGE:
            text = &error->val.too_large;
            return hms_sdk_failed("invalid", "%.*s", (int)text->len, (const char *)text->ptr);
        case HMS_STORE_TRANSACTIONS_ERROR_STORE_FULL:
            text = &error->val.store_full;
            return hms_sdk_failed("store-full", "%.*s", (int)text->len, (const char *)text->ptr);
        case HMS_STORE_TRANSACTIONS_ERROR_OUTBOX_FULL:
            text = &error->val.outbox_full;
            return hms_sdk_failed("outbox-full", "%.*s", (int)text->len, (const char *)text->ptr);
        case HMS_STORE_TRANSACTIONS_ERROR_EVENT_REFUSED:
            text = &error->val.event_refused;
            return hms_sdk_failed("event-refused", "%.*s", (int)text->len, (const char *)text->ptr);
        case HMS_STORE_TRANSACTIONS_ERROR_UNKNOWN:
            text = &error->val.unknown;
            return hms_sdk_failed("unknown", "%.*s", (int)text->len, (const char *)text->ptr);
        default: return hms_sdk_told(text);
    }
}

static bool same(const hms_store_transactions_place_t *at, const char *part, const char *key) {
    return at->bucket.len == strlen(part) && memcmp(at->bucket.ptr, part, at->bucket.len) == 0 &&
           at->key.len == strlen(key) && memcmp(at->key.ptr, key, at->key.len) == 0;
}

static const hms_store_transactions_place_t *place_of(
    const hms_store_transactions_change_t *change) {
    switch (change->tag) {
        case HMS_STORE_TRANSACTIONS_CHANGE_SET: return &change->val.set.f0;
        case HMS_STORE_TRANSACTIONS_CHANGE_DELETE: return &change->val.delete_;
        default: return &change->val.add.f0;
    }
}

/* What the store has at a key: read once, so that a transaction sees one state of it. */
static hms_outcome stored(hms_tx *tx, const char *part, const char *key, const seen **found) {
    for (size_t i = 0; i < tx->reads; i++) {
        *found = &tx->seen[i];
        if (same(&tx->seen[i].at, part, key)) return HMS_OK;
    }
    if (tx->reads == MAX_READS) {
        return hms_sdk_failed("invalid", "a transaction reads at most %d keys", MAX_READS);
    }
    if (tx->seen == NULL) tx->seen = hms_sdk_room(NULL, MAX_READS * sizeof *tx->seen);
    hms_store_transactions_place_t at = {text_of(kept(part)), text_of(kept(key))};
    hms_store_transactions_list_place_t places = {&at, 1};
    hms_store_transactions_list_option_entry_t entries;
    hms_store_transactions_error_t error;
    if (!hms_store_transactions_read(&places, &entries, &error)) return host_failed(&error);
    seen *read = &tx->seen[tx->reads++];
    *read = (seen){.at = at, .exists = entries.len == 1 && entries.ptr[0].is_some};
    if (read->exists) {
        hms_store_transactions_entry_t *entry = &entries.ptr[0].val;
        read->version = entry->version;
        read->value = hms_sdk_terminated(entry->value.ptr, entry->value.len);
        read->length = entry->value.len;
    }
    *found = read;
    return HMS_OK;
}

/* A counter after `by` was added. */
static hms_outcome sum_of(const char *key, const char **value, size_t *length, int64_t by) {
    int64_t number = 0, sum;
    if (*value != NULL) {
        char *end;
        errno = 0;
        number = strtoll(*value, &end, 10);
        if (end == *value || end != *value + *length || errno != 0) {
            return hms_sdk_failed("invalid", "the value of '%s' is not a number", key);
        }
    }
    if (__builtin_add_overflow(number, by, &sum)) {
        return hms_sdk_failed("invalid", "the value of '%s' would not be a number of 64 bits", key);
    }
    *value = hms_format("%" PRId64, sum);
    *length = strlen(*value);
    return HMS_OK;
}

/* The value at a key as the changes leave it. The store is asked only where they do not say it. */
static hms_outcome now(hms_tx *tx, const char *part, const char *key, const char **value,
                       size_t *length) {
    size_t first = tx->writes;
    *value = NULL;
    *length = 0;
    while (first > 0) {
        const hms_store_transactions_change_t *change = &tx->changes[first - 1];
        if (change->tag != HMS_STORE_TRANSACTIONS_CHANGE_ADD && same(place_of(change), part, key))
            break;
        first--;
    }
    if (first == 0) {
        const seen *found;
        if (stored(tx, part, key, &found) != HMS_OK) return HMS_FAILED;
        *value = found->exists ? found->value : NULL;
        *length = found->length;
    } else if (tx->changes[first - 1].tag == HMS_STORE_TRANSACTIONS_CHANGE_SET) {
        const window_list_u8_t *bytes = &tx->changes[first - 1].val.set.f1;
        *value = (const char *)bytes->ptr;
        *length = bytes->len;
    }
    for (size_t i = first; i < tx->writes; i++) {
        const hms_store_transactions_change_t *change = &tx->changes[i];
        if (!same(place_of(change), part, key)) continue;
        if (sum_of(key, value, length, change->val.add.f1) != HMS_OK) return HMS_FAILED;
    }
    return *value == NULL ? HMS_NONE : HMS_OK;
}

hms_outcome hms_tx_get(hms_tx *tx, const char *part, const char *key, const char **value,
                       size_t *length) {
    const char *found;
    size_t size;
    hms_outcome outcome = hms_sdk_named(part, key);
    if (outcome == HMS_OK) outcome = now(tx, part, key, &found, &size);
    if (outcome == HMS_OK) {
        *value = found;
        if (length != NULL) *length = size;
    }
    return refused(tx, outcome);
}

/* A place for one more change, or NULL. */
static hms_store_transactions_change_t *change_at(hms_tx *tx, const char *part, const char *key,
                                                  hms_store_transactions_place_t *at) {
    if (refused(tx, hms_sdk_named(part, key)) != HMS_OK) return NULL;
    if (tx->writes == MAX_CHANGES) {
        refused(tx,
                hms_sdk_failed("invalid", "a transaction makes at most %d changes", MAX_CHANGES));
        return NULL;
    }
    if (tx->changes == NULL) tx->changes = hms_sdk_room(NULL, MAX_CHANGES * sizeof *tx->changes);
    at->bucket = text_of(kept(part));
    at->key = text_of(kept(key));
    return &tx->changes[tx->writes++];
}

void hms_tx_set(hms_tx *tx, const char *part, const char *key, const void *value, size_t length) {
    hms_store_transactions_place_t at;
    hms_store_transactions_change_t *change = change_at(tx, part, key, &at);
    if (change == NULL) return;
    change->tag = HMS_STORE_TRANSACTIONS_CHANGE_SET;
    change->val.set.f0 = at;
    change->val.set.f1 = (window_list_u8_t){(uint8_t *)hms_sdk_copied(value, length), length};
}

void hms_tx_delete(hms_tx *tx, const char *part, const char *key) {
    hms_store_transactions_place_t at;
    hms_store_transactions_change_t *change = change_at(tx, part, key, &at);
    if (change == NULL) return;
    change->tag = HMS_STORE_TRANSACTIONS_CHANGE_DELETE;
    change->val.delete_ = at;
}

void hms_tx_increment(hms_tx *tx, const char *part, const char *key, int64_t by) {
    hms_store_transactions_place_t at;
    hms_store_transactions_change_t *change = change_at(tx, part, key, &at);
    if (change == NULL) return;
    change->tag = HMS_STORE_TRANSACTIONS_CHANGE_ADD;
    change->val.add.f0 = at;
    change->val.add.f1 = by;
}

void hms_tx_once(hms_tx *tx, const char *key) {
    if (tx->once != NULL && strcmp(tx->once, key) != 0) {
        refused(tx, hms_sdk_failed("invalid", "a transaction has one 'once' key"));
    } else if (refused(tx, hms_sdk_named("", key)) == HMS_OK) {
        tx->once = kept(key);
    }
}

/* Whether the host takes a text of an event for one; NULL is none, and right. */
static bool is_text(hms_tx *tx, const char *text) {
    if (text == NULL || hms_sdk_is_utf8(text, strlen(text))) return true;
    refused(tx, hms_sdk_failed("event-refused", "a text of it is not UTF-8"));
    return false;
}

void hms_tx_emit(hms_tx *tx, const hms_event *event) {
    if (event->type == NULL) {
        refused(tx, hms_sdk_failed("event-refused", "type: it is missing"));
        return;
    }
    if (tx->emits == MAX_EVENTS) {
        refused(tx, hms_sdk_failed("invalid", "a transaction emits at most %d events", MAX_EVENTS));
        return;
    }
    if (!is_text(tx, event->type) || !is_text(tx, event->subject) ||
        !is_text(tx, event->partition_key) || !is_text(tx, event->content_type) ||
        !is_text(tx, event->name)) {
        return;
    }
    window_tuple2_string_string_t *attributes =
        hms_sdk_room(NULL, (event->attribute_count + 1) * sizeof *attributes);
    for (size_t i = 0; i < event->attribute_count; i++) {
        const hms_attribute *attribute = &event->attributes[i];
        if (!is_text(tx, attribute->name) || !is_text(tx, attribute->value)) return;
        attributes[i].f0 = text_of(kept(attribute->name));
        attributes[i].f1 = text_of(kept(attribute->value));
    }
    const char *content_type = event->content_type;
    if (content_type == NULL) content_type = event->length == 0 ? "" : "application/json";
    if (tx->events == NULL) tx->events = hms_sdk_room(NULL, MAX_EVENTS * sizeof *tx->events);
    tx->events[tx->emits++] = (hms_store_transactions_event_t){
        .type = text_of(kept(event->type)),
        .subject = kept_option(event->subject),
        .partition_key = kept_option(event->partition_key),
        .content_type = text_of(kept(content_type)),
        .data = {(uint8_t *)hms_sdk_copied(event->data, event->length), event->length},
        .attributes = {attributes, event->attribute_count},
        .not_before_ms = {.is_some = event->not_before_ms != 0, .val = event->not_before_ms},
        .name = kept_option(event->name),
    };
}

/* The host's name of a timer, or NULL. */
static const char *timer_name(hms_tx *tx, const char *type, const char *subject) {
    if (!is_text(tx, type) || !is_text(tx, subject)) return NULL;
    if (strchr(type, '/') != NULL) {
        refused(tx, hms_sdk_failed("event-refused",
                                   "type: '%s' is the name of a timer, which has no slash", type));
        return NULL;
    }
    return hms_format("%s/%s", type, subject == NULL ? "" : subject);
}

void hms_tx_timer(hms_tx *tx, const hms_event *event, uint64_t delay_ms) {
    if (event->type == NULL) {
        refused(tx, hms_sdk_failed("event-refused", "type: it is missing"));
        return;
    }
    hms_event timer = *event;
    timer.name = timer_name(tx, event->type, event->subject);
    timer.not_before_ms = hms_now_ms() + delay_ms;
    if (timer.name != NULL) hms_tx_emit(tx, &timer);
}

void hms_tx_cancel(hms_tx *tx, const char *type, const char *subject) {
    const char *name = timer_name(tx, type, subject);
    if (name == NULL) return;
    tx->cancels = hms_sdk_room(tx->cancels, (tx->cancelled + 1) * sizeof *tx->cancels);
    tx->cancels[tx->cancelled++] = text_of(name);
}

/* The checks of all that was read, with room for one more. */
static hms_store_transactions_list_check_t checks_of(const hms_tx *tx) {
    hms_store_transactions_check_t *checks = hms_sdk_room(NULL, (tx->reads + 1) * sizeof *checks);
    for (size_t i = 0; i < tx->reads; i++) {
        checks[i].at = tx->seen[i].at;
        checks[i].version.is_some = tx->seen[i].exists;
        if (tx->seen[i].exists) checks[i].version.val = tx->seen[i].version;
    }
    return (hms_store_transactions_list_check_t){checks, tx->reads};
}

/* What was committed; HMS_NONE if somebody was faster. */
static hms_outcome commit(hms_tx *tx, hms_store_transactions_committed_t *done) {
    hms_store_transactions_transaction_t whole = {
        .checks = checks_of(tx),
        .changes = {tx->changes, tx->writes},
        .events = {tx->events, tx->emits},
        .cancel = {tx->cancels, tx->cancelled},
        .once = option_of(tx->once),
    };
    hms_store_transactions_error_t error, again;
    if (hms_store_transactions_commit(&whole, done, &error)) return HMS_OK;
    if (error.tag == HMS_STORE_TRANSACTIONS_ERROR_CONFLICT) return HMS_NONE;
    /* The host knows by its 'once' whether it is there, if its disk has recovered. */
    if (error.tag == HMS_STORE_TRANSACTIONS_ERROR_UNKNOWN && tx->once != NULL &&
        hms_store_transactions_commit(&whole, done, &again)) {
        return HMS_OK;
    }
    return host_failed(&error);
}

/* Of a try that gave up: HMS_OK if this was done before, HMS_NONE if a value that it has seen is of
 * another moment, HMS_FAILED if it was not misled. */
static hms_outcome misled(const hms_tx *tx) {
    if (tx->once == NULL && tx->reads < 2) return HMS_FAILED;
    hms_store_transactions_transaction_t asked = {.checks = checks_of(tx),
                                                  .once = option_of(tx->once)};
    /* So that nothing can be committed. */
    asked.checks.ptr[asked.checks.len++] = (hms_store_transactions_check_t){
        .at = {text_of(""), text_of(NEVER)},
        .version = {.is_some = true, .val = text_of(NEVER)},
    };
    hms_store_transactions_committed_t done;
    hms_store_transactions_error_t error;
    if (hms_store_transactions_commit(&asked, &done, &error))
        return done.repeated ? HMS_OK : HMS_FAILED;
    /* More than the one that never holds. */
    bool moved = error.tag == HMS_STORE_TRANSACTIONS_ERROR_CONFLICT && tx->reads > 0 &&
                 error.val.conflict.len > 1;
    return moved ? HMS_NONE : HMS_FAILED;
}

static void tell(const hms_store_transactions_committed_t *done, hms_committed *committed) {
    committed->repeated = done->repeated;
    committed->counters = done->counters.ptr;
    committed->counter_count = done->counters.len;
    committed->event_count = done->event_ids.len;
    const char **ids = hms_sdk_room(NULL, (done->event_ids.len + 1) * sizeof *ids);
    for (size_t i = 0; i < done->event_ids.len; i++) {
        ids[i] = hms_sdk_copied(done->event_ids.ptr[i].ptr, done->event_ids.ptr[i].len);
    }
    committed->event_ids = ids;
}

hms_outcome hms_transaction(bool (*run)(hms_tx *tx, void *data), void *data,
                            hms_committed *committed) {
    hms_committed unasked;
    if (committed == NULL) committed = &unasked;
    for (int tries = 0; tries < TRIES; tries++) {
        *committed = (hms_committed){0};
        hms_tx tx = {0};
        bool goes_on = run(&tx, data);
        if (!goes_on || tx.failed) {
            hms_outcome outcome = misled(&tx);
            if (outcome == HMS_NONE) continue;
            committed->repeated = outcome == HMS_OK;
            if (outcome == HMS_OK) return HMS_OK;
            return tx.failed ? HMS_FAILED : HMS_NONE;
        }
        bool writes = tx.writes + tx.emits + tx.cancelled > 0 || tx.once != NULL;
        if (!writes && tx.reads < 2) return HMS_OK;
        hms_store_transactions_committed_t done;
        hms_outcome outcome = commit(&tx, &done);
        if (outcome == HMS_FAILED) return HMS_FAILED;
        if (outcome == HMS_OK) {
            tell(&done, committed);
            return HMS_OK;
        }
    }
    return hms_sdk_failed("contended", "too many instances change the same keys at once");
}
