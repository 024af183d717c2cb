/* The window {{name}}: files of any size, which are never in memory as a whole, and which their
 * owner alone sees.
 *
 *     POST /{{name}}        the bytes  ->  201 {"id", "bytes", "media_type"}
 *     GET  /{{name}}        {"files": [...], "next"}     ?cursor=, the oldest first
 *     GET  /{{name}}/{id}   the bytes, as they came */
#include <hms_json.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a file under one key. 1 MiB: a value may have 4 MiB, and an instance's memory is small.
 */
#define PIECE (1u << 20)
/* The largest file. 1 GiB. */
#define MAX_BYTES (1ull << 30)
/* Files in one list. */
#define PAGE 50

const size_t hms_body_limit = HMS_STREAM;

/* The key of a piece. */
static const char *key(const char *id, unsigned number) {
    static char text[64];
    snprintf(text, sizeof text, "%s/%08u", id, number);
    return text;
}

/* Writes the pieces as they come. False if it is no file: then there is an answer. */
static bool keep(const hms_request *request, hms_response *response, const char *id,
                 unsigned *pieces, uint64_t *size) {
    char *piece = malloc(PIECE);
    if (piece == NULL) abort();
    for (*pieces = 0, *size = 0;; ++*pieces) {
        size_t length;
        hms_outcome outcome = hms_read(request, piece, PIECE, &length);
        if (outcome == HMS_NONE) return true;
        if (outcome == HMS_FAILED) {
            hms_bad_request(response, "the body broke off");
            return false;
        }
        *size += length;
        if (*size > MAX_BYTES) {
            hms_problem(response, 413, "body-too-large",
                        hms_format("the request body is larger than %llu bytes", MAX_BYTES));
            return false;
        }
        if (hms_set("pieces", key(id, *pieces), piece, length) != HMS_OK) {
            hms_store_problem(response);
            return false;
        }
    }
}

static void take(const hms_request *request, hms_response *response, const char *files) {
    const char *id = hms_new_id(), *media = hms_header(request, "content-type");
    unsigned pieces;
    uint64_t size;
    bool kept = keep(request, response, id, &pieces, &size);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "id", id);
    yyjson_mut_obj_add_uint(doc, root, "bytes", size);
    yyjson_mut_obj_add_str(doc, root, "media_type",
                           media == NULL ? "application/octet-stream" : media);
    /* What is known of a file is written last: a file without it is none. */
    if (kept && hms_set_json(files, id, doc) != HMS_OK) {
        hms_store_problem(response);
        kept = false;
    }
    if (!kept) {
        /* Nobody will ever ask for them. */
        for (unsigned i = 0; i < pieces; i++) hms_delete("pieces", key(id, i));
        return;
    }
    hms_set_header(response, "location", hms_public_path(request, hms_format("/{{name}}/%s", id)));
    hms_json_doc(response, 201, doc);
}

static void give(const hms_request *request, hms_response *response, const char *files,
                 const char *id) {
    yyjson_val *file;
    hms_outcome outcome = hms_get_json(files, id, &file);
    if (outcome == HMS_NONE) hms_not_found(response);
    if (outcome == HMS_FAILED) hms_store_problem(response);
    if (outcome != HMS_OK) return;
    uint64_t size = yyjson_get_uint(yyjson_obj_get(file, "bytes"));
    hms_set_header(response, "content-length", hms_format("%" PRIu64, size));
    /* So that no browser runs what somebody has uploaded. */
    hms_set_header(response, "content-disposition", "attachment");
    hms_set_header(response, "x-content-type-options", "nosniff");
    hms_respond(response, 200, yyjson_get_str(yyjson_obj_get(file, "media_type")), NULL, 0);
    for (unsigned i = 0; size > 0 && !hms_is_head(request); i++) {
        const char *piece;
        size_t length;
        outcome = hms_get("pieces", key(id, i), &piece, &length);
        if (outcome != HMS_OK || length > size) {
            hms_log("piece %u of %s: %s", i, id,
                    outcome == HMS_FAILED ? hms_error() : "it is not there");
            hms_break_off(response);
            return;
        }
        /* Waits until the client has taken it. */
        if (hms_write(response, piece, length) != HMS_OK) return;
        free((void *)piece);
        size -= length;
    }
}

void hms_handle(const hms_request *request, hms_response *response) {
    const char *method = hms_method(request);
    /* Each user's own part of the store: another user's files do not exist for them. */
    const char *files = hms_user_part(request, "files");
    bool all = hms_at(request, "/{{name}}"), is_get = strcmp(method, "GET") == 0;
    if (!all && !hms_at(request, "/{{name}}/*")) hms_not_found(response);
    else if (files == NULL) hms_unauthorized(response);
    else if (all && strcmp(method, "POST") == 0) take(request, response, files);
    else if (all && is_get)
        hms_json_page(response, "files", files, hms_param(request, "cursor"), PAGE);
    else if (all) hms_method_not_allowed(response, "GET, HEAD, POST");
    else if (!is_get) hms_method_not_allowed(response, "GET, HEAD");
    else give(request, response, files, hms_segment(request, 1));
}
