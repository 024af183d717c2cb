/* Events that the host has delivered: CloudEvents 1.0 over HTTP. */
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "hms_json.h"
#include "internal.h"

void hms_reject(hms_response *response, const char *detail) {
    hms_problem(response, 422, "rejected", detail);
}

static const char *attribute(const hms_received *event, const char *name) {
    for (size_t i = 0; i < event->attribute_count; i++) {
        const hms_attribute *one = &event->attributes[i];
        if (strcmp(one->name, name) == 0) return *one->value == 0 ? NULL : one->value;
    }
    return NULL;
}

/* A number of digits only. */
static bool number(const char *text, size_t length, uint64_t *value) {
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || *value > UINT64_MAX / 10 - 1) return false;
        *value = *value * 10 + (uint64_t)(text[i] - '0');
    }
    return length > 0;
}

/* `NAME-OF-SUBSCRIPTION; attempt=N; round=R`; a later host may say more. */
static bool read_mark(const char *mark, hms_received *event) {
    size_t length = strcspn(mark, ";");
    event->subscription = hms_sdk_copied(mark, length);
    event->attempt = 1;
    event->replay_round = 0;
    for (mark += length; *mark != 0; mark += length) {
        mark += strspn(mark, "; ");
        length = strcspn(mark, "; ");
        size_t split = strcspn(mark, "=; ");
        uint64_t *value = split == 7 && memcmp(mark, "attempt", 7) == 0 ? &event->attempt
                          : split == 5 && memcmp(mark, "round", 5) == 0 ? &event->replay_round
                                                                        : NULL;
        if (value != NULL &&
            (split == length || !number(mark + split + 1, length - split - 1, value))) {
            return false;
        }
    }
    return *event->subscription != 0;
}

static void add(hms_received *event, const char *name, const char *value) {
    hms_attribute *all = (hms_attribute *)event->attributes;
    all = hms_sdk_room(all, (event->attribute_count + 1) * sizeof *all);
    all[event->attribute_count++] = (hms_attribute){name, value};
    event->attributes = all;
}

/* Attributes in headers, data in the body. */
static bool read_binary(const hms_request *request, hms_response *response, hms_received *event) {
    size_t count;
    const hms_sdk_field *fields = hms_sdk_fields(request, &count);
    for (size_t i = 0; i < count; i++) {
        const hms_sdk_field *field = &fields[i];
        if (field->name_length < 3 || memcmp(field->name, "ce-", 3) != 0) continue;
        char *text = hms_sdk_decoded(field->value, field->length, false);
        if (!hms_sdk_is_utf8(text, strlen(text))) {
            hms_bad_request(response, "an attribute of the event is not UTF-8");
            return false;
        }
        add(event, hms_sdk_copied(field->name + 3, field->name_length - 3), text);
    }
    event->data = request->body;
    event->length = request->length;
    return true;
}

/* The value of a digit of base64, -1 if it is none. */
static int sextet(char digit) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = digit == 0 ? NULL : strchr(digits, digit);
    return at == NULL ? -1 : (int)(at - digits);
}

static bool read_base64(const char *text, hms_received *event) {
    size_t length = strlen(text);
    if (length % 4 != 0) return false;
    while (length > 0 && text[length - 1] == '=') length--;
    if (length % 4 == 1) return false;
    char *bytes = hms_sdk_room(NULL, length + 1), *end = bytes;
    uint32_t bits = 0;
    for (size_t i = 0; i < length; i++) {
        int value = sextet(text[i]);
        if (value < 0) return false;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 0) *end++ = (char)(bits >> (6 - 2 * (i % 4)));
    }
    *end = 0;
    event->data = bytes;
    event->length = (size_t)(end - bytes);
    return true;
}

/* What is wrong with an event that is one JSON object, or NULL. */
static const char *read_structured(const hms_request *request, hms_received *event) {
    yyjson_doc *doc = yyjson_read(request->body, request->length, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *name;
    if (!yyjson_is_obj(root)) return "it is not a JSON object";
    yyjson_obj_iter members = yyjson_obj_iter_with(root);
    while ((name = yyjson_obj_iter_next(&members)) != NULL) {
        const char *text = yyjson_get_str(name);
        yyjson_val *value = yyjson_obj_iter_get_val(name);
        if (yyjson_is_null(value) || strcmp(text, "data") == 0 ||
            strcmp(text, "data_base64") == 0 || strcmp(text, "datacontenttype") == 0) {
            continue;
        }
        if (yyjson_is_str(value)) add(event, text, yyjson_get_str(value));
        else if (yyjson_is_bool(value)) add(event, text, yyjson_get_bool(value) ? "true" : "false");
        else if (yyjson_is_num(value)) add(event, text, yyjson_val_write(value, 0, NULL));
        else return hms_format("'%s' is not a valid attribute name", text);
    }
    event->content_type = yyjson_get_str(yyjson_obj_get(root, "datacontenttype"));
    const char *encoded = yyjson_get_str(yyjson_obj_get(root, "data_base64"));
    yyjson_val *data = yyjson_obj_get(root, "data");
    if (encoded != NULL) return read_base64(encoded, event) ? NULL : "'data_base64' is not base64";
    if (data == NULL || yyjson_is_null(data)) return NULL;
    size_t essence = event->content_type == NULL ? 0 : strcspn(event->content_type, "; ");
    bool is_json = event->content_type == NULL ||
                   (essence >= 4 && strncasecmp(event->content_type + essence - 4, "json", 4) == 0);
    if (yyjson_is_str(data) && !is_json) {
        event->data = yyjson_get_str(data);
        event->length = yyjson_get_len(data);
        return NULL;
    }
    event->data = yyjson_val_write(data, 0, &event->length);
    if (event->content_type == NULL) event->content_type = "application/json";
    return event->data == NULL ? "its data cannot be read" : NULL;
}

bool hms_receive(const hms_request *request, hms_response *response, hms_received *event) {
    *event = (hms_received){.data = ""};
    const char *mark = hms_header(request, "x-hms-delivery");
    if (mark == NULL) {
        hms_problem(response, 403, "not-a-delivery",
                    "only the host delivers events here: subscribe to them instead");
        return false;
    }
    if (!read_mark(mark, event)) {
        hms_bad_request(response, "the header 'x-hms-delivery' is malformed");
        return false;
    }
    static const char structured[] = "application/cloudevents+json";
    event->content_type = hms_header(request, "content-type");
    const char *type = event->content_type == NULL ? "" : event->content_type;
    if (strcspn(type, "; ") == sizeof structured - 1 &&
        strncasecmp(type, structured, sizeof structured - 1) == 0) {
        const char *fault = read_structured(request, event);
        if (fault != NULL) {
            hms_bad_request(response, hms_format("the event is malformed: %s", fault));
            return false;
        }
    } else if (!read_binary(request, response, event)) {
        return false;
    }
    static const char *const needed[] = {"id", "source", "type", "specversion"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (attribute(event, needed[i]) == NULL) {
            hms_bad_request(response,
                            hms_format("this is not a CloudEvent: '%s' is missing", needed[i]));
            return false;
        }
    }
    const char *version = attribute(event, "specversion");
    if (strcmp(version, "1.0") != 0) {
        hms_bad_request(response,
                        hms_format("CloudEvents '%s' is not known here: only 1.0 is", version));
        return false;
    }
    event->id = attribute(event, "id");
    event->source = attribute(event, "source");
    event->type = attribute(event, "type");
    event->subject = attribute(event, "subject");
    event->time = attribute(event, "time");
    const char *sequence = attribute(event, "sequence");
    if (sequence == NULL || !number(sequence, strlen(sequence), &event->sequence))
        event->sequence = 0;
    /* The subscription as well: two of one window may each do something with the same event. */
    event->once_key = hms_format("event/%s/%" PRIu64 "/%s/%s", event->subscription,
                                 event->replay_round, event->source, event->id);
    return true;
}
