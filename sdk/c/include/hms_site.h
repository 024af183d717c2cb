/* Static sites: the files of a folder, in the component. `SITE = site` in the Makefile names it. */
#ifndef HMS_SITE_H
#define HMS_SITE_H

#include "hms_window.h"

/* The bytes of a file in one coding; `bytes` is NULL if there is none. */
typedef struct {
    const void *bytes;
    size_t length;
} hms_form;

typedef struct {
    const char *name;
    const char *media;
    const char *tag;
    /* Its name has a hash of what is in it. */
    bool hashed;
    hms_form plain, br, gzip;
} hms_file;

typedef struct {
    const hms_file *files;
    size_t count;
} hms_files;

/* What the build makes of the folder. */
extern const hms_files hms_site_files;

typedef struct {
    /* An application that has its own paths in the browser: they are index.html. */
    bool single_page;
    /* The Content-Security-Policy of pages, in place of a strict one. */
    const char *csp;
} hms_site_options;

/* Answers with a file: hms_site(request, response, &hms_site_files, NULL). It knows conditions,
 * ranges and codings; `index.html` is a folder's page, and `404.html` is for what is not there. */
void hms_site(const hms_request *request, hms_response *response, const hms_files *files,
              const hms_site_options *options);

#endif
