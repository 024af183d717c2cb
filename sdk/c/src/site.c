/* Static sites, as the other SDKs have them. */
#include "hms_site.h"

#include <stdio.h>
#include <strings.h>

#include "internal.h"

#define CSP                                                                                        \
    "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors " \
    "'none'"
/* What a client may keep for a year, and what it asks about each time. */
#define IMMUTABLE "public, max-age=31536000, immutable"
#define ASK "no-cache"
/* What the gateway may store (RFC 9213). It drops it with the release. */
#define GATEWAY "public, max-age=31536000"

static const hms_file *named(const hms_files *files, const char *name) {
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->files[i].name, name) == 0) return &files->files[i];
    }
    return NULL;
}

/* The path without its first slash, each segment decoded. */
static const char *name_of(const hms_request *request) {
    const char *from = request->path + (*request->path == '/');
    char *name = hms_sdk_room(NULL, strlen(from) + 1), *end = name;
    for (;;) {
        size_t length = strcspn(from, "/");
        const char *segment = hms_sdk_decoded(from, length, false);
        size_t decoded = strlen(segment);
        memcpy(end, segment, decoded + 1);
        if (from[length] == 0) return name;
        end += decoded;
        *end++ = '/';
        from += length + 1;
    }
}

/* Whether an item of a list is `name`, and what follows it. */
static bool is_item(const char *item, const char *name, const char **parameters) {
    size_t length = strlen(name);
    if (strncasecmp(item, name, length) != 0) return false;
    *parameters = item + length + strspn(item + length, " \t");
    return **parameters == 0 || **parameters == ',' || **parameters == ';';
}

/* Whether a parameter of an item is q=0. */
static bool is_refused(const char *parameters) {
    while (*parameters == ';') {
        parameters += 1 + strspn(parameters + 1, " \t");
        size_t length = strcspn(parameters, ",; \t");
        if (length >= 3 && strncasecmp(parameters, "q=0", 3) == 0 &&
            strspn(parameters + 3, ".0") == length - 3) {
            return true;
        }
        parameters += length + strspn(parameters + length, " \t");
    }
    return false;
}

/* What a list says of an item: 1, 0 if it refuses it, -1 if it does not name it. */
static int says(const char *list, const char *name) {
    while (*(list += strspn(list, " \t,")) != 0) {
        const char *parameters;
        if (is_item(list, name, &parameters)) return !is_refused(parameters);
        list += strcspn(list, ",");
    }
    return -1;
}

static bool accepts(const hms_request *request, const char *coding) {
    const char *list = hms_header(request, "accept-encoding");
    if (list == NULL) return false;
    int said = says(list, coding);
    return said >= 0 ? said == 1 : says(list, "*") == 1;
}

/* A person goes to a page: something that wants HTML, and no file by its name. */
static bool is_navigation(const hms_request *request, const char *name) {
    const char *accept = hms_header(request, "accept"), *last = strrchr(name, '/');
    return accept != NULL && says(accept, "text/html") >= 0 &&
           strchr(last == NULL ? name : last, '.') == NULL;
}

/* A number of digits at `text`, which may be none; one that is too large is the largest. */
static const char *read_number(const char *text, bool *is_there, uint64_t *number) {
    *is_there = *text >= '0' && *text <= '9';
    for (*number = 0; *text >= '0' && *text <= '9'; text++) {
        *number = *number > UINT64_MAX / 10 - 1 ? UINT64_MAX / 10
                                                : *number * 10 + (uint64_t)(*text - '0');
    }
    return text + strspn(text, " \t");
}

typedef enum { WHOLE, PART, NOTHING } range;

/* From where to where: RFC 9110, section 14. */
static range range_of(const char *text, size_t size, size_t *from, size_t *to) {
    text += strspn(text, " \t");
    if (strncasecmp(text, "bytes", 5) != 0) return WHOLE;
    text += 5 + strspn(text + 5, " \t");
    if (*text++ != '=') return WHOLE;
    bool has_first, has_last;
    uint64_t first, last;
    text = read_number(text + strspn(text, " \t"), &has_first, &first);
    if (*text++ != '-') return WHOLE;
    text = read_number(text + strspn(text, " \t"), &has_last, &last);
    if (*text != 0 || (!has_first && !has_last) || (has_first && has_last && first > last))
        return WHOLE;
    if (!has_first) {
        *from = last > size ? 0 : size - (size_t)last;
        *to = size;
    } else {
        *from = first > size ? size : (size_t)first;
        *to = has_last && last < size ? (size_t)last + 1 : size;
    }
    return *from < *to ? PART : NOTHING;
}

/* The one range that is asked for, or NULL. */
static const char *asked_range(const hms_request *request) {
    size_t at = 0;
    const char *range = hms_sdk_value(request, "range", &at);
    return hms_sdk_value(request, "range", &at) == NULL ? range : NULL;
}

/* Whether a range is of what the client has a part of. */
static bool is_same(const hms_request *request, const char *etag) {
    const char *value = hms_header(request, "if-range");
    return value == NULL || strcmp(value, etag) == 0;
}

static void give(const hms_request *request, hms_response *response, const hms_file *file,
                 int status, const char *csp) {
    /* HEAD knows no ranges (RFC 9110, section 14.2). A part is a part of the file as it is. */
    const char *asked = request->is_head || status != 200 ? NULL : asked_range(request);
    bool br = asked == NULL && file->br.bytes != NULL && accepts(request, "br");
    bool gzip = asked == NULL && !br && file->gzip.bytes != NULL && accepts(request, "gzip");
    const hms_form *form = br ? &file->br : gzip ? &file->gzip : &file->plain;
    const char *etag = hms_format("\"%s%s\"", file->tag, br ? "-br" : gzip ? "-gz" : "");
    hms_set_header(response, "etag", etag);
    hms_set_header(response, "cache-control", file->hashed ? IMMUTABLE : ASK);
    hms_set_header(response, "accept-ranges", "bytes");
    hms_set_header(response, "x-content-type-options", "nosniff");
    if (file->br.bytes != NULL || file->gzip.bytes != NULL)
        hms_set_header(response, "vary", "accept-encoding");
    if (strncmp(file->media, "text/html", 9) == 0 || strncmp(file->media, "image/svg", 9) == 0) {
        hms_set_header(response, "content-security-policy", csp);
    }
    int condition = status == 200 ? hms_condition(request, etag) : 0;
    if (condition == 304) {
        hms_respond(response, 304, NULL, NULL, 0);
        return;
    }
    if (condition != 0) {
        hms_condition_problem(response, condition);
        return;
    }
    size_t from = 0, to = form->length;
    range part = asked == NULL || !is_same(request, etag)
                     ? WHOLE
                     : range_of(asked, form->length, &from, &to);
    if (part == NOTHING) {
        hms_set_header(response, "content-range", hms_format("bytes */%zu", form->length));
        hms_respond(response, 416, NULL, NULL, 0);
        return;
    }
    if (part == PART) {
        hms_set_header(response, "content-range",
                       hms_format("bytes %zu-%zu/%zu", from, to - 1, form->length));
        status = 206;
    }
    if (br || gzip) hms_set_header(response, "content-encoding", br ? "br" : "gzip");
    hms_respond(response, status, file->media, (const char *)form->bytes + from, to - from);
}

void hms_site(const hms_request *request, hms_response *response, const hms_files *files,
              const hms_site_options *options) {
    if (strcmp(request->method, "GET") != 0) {
        hms_method_not_allowed(response, "GET, HEAD");
        return;
    }
    const char *csp = options == NULL || options->csp == NULL ? CSP : options->csp;
    const char *name = name_of(request);
    bool is_folder = *name == 0 || name[strlen(name) - 1] == '/';
    const char *index = hms_format("%s%sindex.html", name, is_folder ? "" : "/");
    const hms_file *file = named(files, is_folder ? index : name);
    if (file != NULL) {
        hms_set_header(response, "hms-cache-control", GATEWAY);
        give(request, response, file, 200, csp);
        return;
    }
    if (!is_folder && named(files, index) != NULL) {
        const char *path = hms_public_path(request, hms_format("%s/", request->path));
        const char *mark = *request->query == 0 ? "" : "?";
        hms_set_header(response, "location", hms_format("%s%s%s", path, mark, request->query));
        hms_respond(response, 308, NULL, NULL, 0);
        return;
    }
    bool is_page = options != NULL && options->single_page && is_navigation(request, name);
    file = named(files, is_page ? "index.html" : "404.html");
    if (file == NULL) hms_not_found(response);
    else give(request, response, file, is_page ? 200 : 404, csp);
}
