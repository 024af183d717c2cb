/* A middleware: a window that stands between a route and its upstream. A window whose source
 * includes this file is one: its hms_handle() answers a request itself, or has hms_next() do it.
 * A route names it: `- wasm: {window: NAME}`.
 *
 * Bodies stream through unread. hms_body() is empty: hms_read() reads the body of a request that
 * the middleware answers itself. */
#ifndef HMS_MIDDLEWARE_H
#define HMS_MIDDLEWARE_H

#include "hms_window.h"

/* Sets a header of the request that goes on, in place of what the client has sent; NULL takes it
 * away. The caller cannot be changed: the host sets those that begin with "x-hms-" again. */
void hms_forward_header(const hms_request *request, const char *name, const char *value);

/* Has what comes next answer: more middleware, then the route's window or service. Once for a
 * request, and not after hms_read(). False if it has not answered: the answer is a 502.
 *
 * hms_set_header() sets a header of its answer, in place of what it has; NULL takes it away.
 * hms_respond() and what is like it answer in its place. */
bool hms_next(const hms_request *request, hms_response *response);

/* Of the answer of hms_next(): its status, and a header, the first if there are several; NULL if
 * there is none. */
int hms_next_status(const hms_response *response);
const char *hms_next_header(const hms_response *response, const char *name);

#endif
