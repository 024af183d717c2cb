/* A note, as clients and the store have it. */
#ifndef NOTE_H
#define NOTE_H

#include <hms_json.h>

typedef struct {
    const char *id;
    int64_t version;
    const char *title;
    const char *text;
} note;

/* Title and text of what the client has sent. False if it is not a note: the answer is a 400. */
bool note_sent(const hms_request *request, hms_response *response, note *note);
/* The note with this id, in JSON. HMS_FAILED if it is not a note. */
hms_outcome note_read(const char *id, const char *json, size_t length, note *note);
/* The note in JSON. */
const char *note_json(const note *note, size_t *length);
const char *note_etag(const note *note);

#endif
