/* Conditional requests: RFC 9110, section 13, by entity tags. */
#include "internal.h"

const char *hms_etag(const char *version) {
    char *tag = hms_sdk_room(NULL, 3 * strlen(version) + 3), *end = tag;
    static const char digits[] = "0123456789ABCDEF";
    *end++ = '"';
    for (; *version != 0; version++) {
        unsigned char byte = (unsigned char)*version;
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= '0' && byte <= '9') || strchr("-_.!~*'()", byte) != NULL;
        if (plain) {
            *end++ = (char)byte;
        } else {
            *end++ = '%';
            *end++ = digits[byte >> 4];
            *end++ = digits[byte & 15];
        }
    }
    *end++ = '"';
    *end = 0;
    return tag;
}

typedef enum { NAMED, NOT_NAMED, NO_LIST } named;

static const char *without_weak(const char *tag) {
    return strncmp(tag, "W/", 2) == 0 ? tag + 2 : tag;
}

/* The length of the tag that a list begins with, 0 if there is none. */
static size_t tag_at(const char *list) {
    const char *tag = without_weak(list);
    if (*tag++ != '"') return 0;
    while ((unsigned char)*tag > 0x20 && *tag != '"' && *tag != 0x7F) tag++;
    if (*tag++ != '"') return 0;
    const char *rest = tag + strspn(tag, " \t");
    return *rest == 0 || *rest == ',' ? (size_t)(tag - list) : 0;
}

/* Whether a list of tags names this one. A reader's list that cannot be read names nothing. */
static named names(const char *list, const char *etag, bool strong, bool changes) {
    named found = NOT_NAMED;
    list += strspn(list, " \t");
    if (*list == '*' && list[1 + strspn(list + 1, " \t")] == 0)
        return etag == NULL ? NOT_NAMED : NAMED;
    while (list += strspn(list, " \t,"), *list != 0) {
        size_t length = tag_at(list);
        if (length == 0) {
            if (changes) return NO_LIST;
            list += strcspn(list, ",");
            continue;
        }
        const char *one = hms_sdk_copied(list, length);
        list += length;
        if (etag == NULL) continue;
        bool fits = strong ? strcmp(one, etag) == 0 && strncmp(one, "W/", 2) != 0
                           : strcmp(without_weak(one), without_weak(etag)) == 0;
        if (fits) found = NAMED;
    }
    return found;
}

/* All values of a field as one list; NULL if there is none. */
static const char *list_of(const hms_request *request, const char *name) {
    const char *list = NULL, *one;
    for (size_t at = 0; (one = hms_sdk_value(request, name, &at)) != NULL;)
        list = list == NULL ? one : hms_format("%s,%s", list, one);
    return list;
}

int hms_condition(const hms_request *request, const char *etag) {
    bool changes = strcmp(request->method, "GET") != 0;
    const char *match = list_of(request, "if-match"), *none = list_of(request, "if-none-match");
    named found = match == NULL ? NAMED : names(match, etag, true, changes);
    if (found != NAMED) return found == NO_LIST ? 400 : 412;
    found = none == NULL ? NOT_NAMED : names(none, etag, false, changes);
    if (found == NO_LIST) return 400;
    if (found == NOT_NAMED) return 0;
    return changes ? 412 : 304;
}

void hms_condition_problem(hms_response *response, int status) {
    if (status == 400) {
        hms_bad_request(response, "a condition of the request is not a list of entity tags");
    } else {
        hms_problem(response, 412, "precondition-failed",
                    "it is not as 'if-match' or 'if-none-match' says: read it again");
    }
}
