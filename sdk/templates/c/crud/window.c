/* The window {{name}}: notes, which their owner alone sees.
 *
 *     POST   /{{name}}        {"title", "text"}  ->  201 {"id", "version", "title", "text"}
 *     GET    /{{name}}        {"notes": [...], "next"}     ?limit=&cursor=, the oldest first
 *     GET    /{{name}}/{id}   with an entity tag
 *     PUT    /{{name}}/{id}   If-Match: the tag that was read, so that no change is lost
 *     DELETE /{{name}}/{id}   the same */
#include <string.h>

#include "note.h"

/* Notes in one answer: what a client gets unasked, and the most it can ask for. */
#define PAGE 20
#define PAGE_MAX 100

/* A request for one note, or to make one. */
typedef struct {
    const hms_request *request;
    /* The caller's own part of the store: another user's notes do not exist for them. */
    const char *part;
    const char *id;
    note note;
    /* Why not: 404, what a condition says, or 0. */
    int refused;
} asked;

static void answer(hms_response *response, int status, const note *note) {
    size_t length;
    const char *json = note_json(note, &length);
    hms_set_header(response, "etag", note_etag(note));
    hms_respond(response, status, "application/json", json, length);
}

static void refuse(hms_response *response, int status) {
    if (status == 404) hms_not_found(response);
    else hms_condition_problem(response, status);
}

static void create(asked *asked, hms_response *response) {
    /* Ids are in the order of time, and so are keys. */
    note note = {.id = hms_new_id(), .version = 1};
    if (!note_sent(asked->request, response, &note)) return;
    size_t length;
    const char *json = note_json(&note, &length);
    if (hms_set(asked->part, note.id, json, length) != HMS_OK) {
        hms_store_problem(response);
        return;
    }
    const char *path = hms_format("/{{name}}/%s", note.id);
    hms_set_header(response, "location", hms_public_path(asked->request, path));
    answer(response, 201, &note);
}

static void list(asked *asked, hms_response *response) {
    int64_t limit = PAGE;
    if (!hms_param_number(asked->request, response, "limit", &limit)) return;
    limit = limit < 1 ? 1 : limit > PAGE_MAX ? PAGE_MAX : limit;
    const char *cursor = hms_param(asked->request, "cursor");
    hms_json_page(response, "notes", asked->part, cursor, (size_t)limit);
}

static void show(asked *asked, hms_response *response) {
    const char *json;
    size_t length;
    note note;
    hms_outcome outcome = hms_get(asked->part, asked->id, &json, &length);
    if (outcome == HMS_OK) outcome = note_read(asked->id, json, length, &note);
    if (outcome == HMS_FAILED) {
        hms_store_problem(response);
        return;
    }
    int refused = outcome == HMS_NONE ? 404 : hms_condition(asked->request, note_etag(&note));
    if (refused == 304) {
        hms_set_header(response, "etag", note_etag(&note));
        hms_respond(response, 304, NULL, NULL, 0);
    } else if (refused != 0) {
        refuse(response, refused);
    } else {
        answer(response, 200, &note);
    }
}

/* The note as it is now, if the request's conditions hold for it. */
static bool found(hms_tx *tx, asked *asked, note *old) {
    const char *json;
    size_t length;
    hms_outcome outcome = hms_tx_get(tx, asked->part, asked->id, &json, &length);
    if (outcome == HMS_OK) outcome = note_read(asked->id, json, length, old);
    asked->refused = outcome == HMS_OK ? hms_condition(asked->request, note_etag(old)) : 404;
    return asked->refused == 0;
}

static bool replace(hms_tx *tx, void *data) {
    asked *asked = data;
    note old;
    if (!found(tx, asked, &old)) return false;
    asked->note.id = asked->id;
    asked->note.version = old.version + 1;
    size_t length;
    const char *json = note_json(&asked->note, &length);
    hms_tx_set(tx, asked->part, asked->id, json, length);
    return true;
}

static bool delete(hms_tx *tx, void *data) {
    asked *asked = data;
    note old;
    if (!found(tx, asked, &old)) return false;
    hms_tx_delete(tx, asked->part, asked->id);
    return true;
}

/* Check and change are one step: if another request was faster, both run again. */
static void change(asked *asked, hms_response *response, bool deletes) {
    if (!deletes && !note_sent(asked->request, response, &asked->note)) return;
    hms_outcome outcome = hms_transaction(deletes ? delete : replace, asked, NULL);
    if (outcome == HMS_FAILED) hms_store_problem(response);
    else if (outcome == HMS_NONE) refuse(response, asked->refused);
    else if (deletes) hms_respond(response, 204, NULL, NULL, 0);
    else answer(response, 200, &asked->note);
}

void hms_handle(const hms_request *request, hms_response *response) {
    asked asked = {request, hms_user_part(request, "notes"), hms_segment(request, 1), {0}, 0};
    bool one = hms_at(request, "/{{name}}/*");
    const char *method = hms_method(request);
    bool get = strcmp(method, "GET") == 0, put = strcmp(method, "PUT") == 0;
    bool post = strcmp(method, "POST") == 0, delete = strcmp(method, "DELETE") == 0;
    if (!one && !hms_at(request, "/{{name}}")) hms_not_found(response);
    else if (one && !get && !put && !delete)
        hms_method_not_allowed(response, "GET, HEAD, PUT, DELETE");
    else if (!one && !get && !post) hms_method_not_allowed(response, "GET, HEAD, POST");
    else if (asked.part == NULL) hms_unauthorized(response);
    else if (one && get) show(&asked, response);
    else if (one) change(&asked, response, delete);
    else if (get) list(&asked, response);
    else create(&asked, response);
}
