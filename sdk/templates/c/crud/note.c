#include "note.h"

#include <inttypes.h>
#include <string.h>

/* The longest title, in bytes. */
#define MAX_TITLE 200

bool note_sent(const hms_request *request, hms_response *response, note *note) {
    yyjson_val *form = hms_body_object(request, response);
    if (form == NULL) return false;
    yyjson_val *text = yyjson_obj_get(form, "text");
    note->title = yyjson_get_str(yyjson_obj_get(form, "title"));
    note->text = text == NULL ? "" : yyjson_get_str(text);
    bool is_blank = note->title == NULL || note->title[strspn(note->title, " \t\r\n")] == 0;
    if (is_blank || strlen(note->title) > MAX_TITLE) {
        hms_bad_request(response, hms_format("'title' must have 1 to %d bytes", MAX_TITLE));
    } else if (note->text == NULL) {
        hms_bad_request(response, "'text' is not a string");
    }
    return !is_blank && strlen(note->title) <= MAX_TITLE && note->text != NULL;
}

hms_outcome note_read(const char *id, const char *json, size_t length, note *note) {
    yyjson_val *value;
    if (hms_parsed(id, json, length, &value) != HMS_OK) return HMS_FAILED;
    note->id = id;
    note->version = yyjson_get_sint(yyjson_obj_get(value, "version"));
    note->title = yyjson_get_str(yyjson_obj_get(value, "title"));
    note->text = yyjson_get_str(yyjson_obj_get(value, "text"));
    return HMS_OK;
}

const char *note_json(const note *note, size_t *length) {
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "id", note->id);
    yyjson_mut_obj_add_int(doc, root, "version", note->version);
    yyjson_mut_obj_add_str(doc, root, "title", note->title);
    yyjson_mut_obj_add_str(doc, root, "text", note->text);
    return hms_json_text(doc, length);
}

const char *note_etag(const note *note) { return hms_etag(hms_format("%" PRId64, note->version)); }
