/* What the unit tests share. They run on the machine itself: host.c stands for the host. */
#ifndef HMS_UNIT_H
#define HMS_UNIT_H

#include "hms_json.h"
#include "internal.h"

/* Fails the run, and says where. */
#define CHECK(holds) unit_check((holds), #holds, __FILE__, __LINE__)
/* The same of two texts, which can be NULL. */
#define SAME(text, expected) unit_same((text), (expected), #text, __FILE__, __LINE__)

void unit_check(bool holds, const char *what, const char *file, int line);
void unit_same(const char *text, const char *expected, const char *what, const char *file,
               int line);

/* A request of the tests: unit_request("GET", "/a?b=c", "if-match", "\"1\"", NULL). */
hms_request *unit_request(const char *method, const char *target, ...);
/* With this body. */
hms_request *unit_posted(const char *body, size_t length);
hms_response *unit_response(const hms_request *request);
/* A header that an answer has, or NULL. */
const char *unit_header(const hms_response *response, const char *name);

/* What the window has logged last. */
extern char unit_logged[4096];
/* Puts keys into the store of the tests, which lists three at a time. */
void unit_keys(const char *const *keys, size_t count);

void paths(void);
void queries(void);
void headers(void);
void conditions(void);
void json(void);
void ids(void);
void pages(void);
void problems(void);
void bodies(void);
void events(void);
void sites(void);

#endif
