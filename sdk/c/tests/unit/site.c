/* Static sites. */
#include "hms_site.h"
#include "unit.h"

#define FORM(text) {(const unsigned char *)(text), sizeof(text) - 1}

static const hms_file all[] = {
    {.name = "index.html", .media = "text/html", .tag = "i", .plain = FORM("index")},
    {.name = "404.html", .media = "text/html", .tag = "4", .plain = FORM("none")},
    {.name = "a b/index.html", .media = "text/html", .tag = "b", .plain = FORM("folder")},
    {.name = "big.js", .media = "text/javascript", .tag = "j", .plain = FORM("0123456789"),
     .br = FORM("br"), .gzip = FORM("gzip")},
};
static const hms_files files = {all, sizeof all / sizeof *all};

static hms_response *got;

/* Status and body of the answer: "200 index". */
static const char *site(const char *method, const char *target, const char *name,
                        const char *value) {
    hms_request *request = unit_request(method, target, name, value, NULL);
    got = unit_response(request);
    hms_site(request, got, &files, NULL);
    return hms_format("%d %.*s", got->status, got->body ? (int)got->length : 0,
                      got->body ? (const char *)got->body : "");
}

static const char *ranged(const char *range) { return site("GET", "/big.js", "range", range); }

void sites(void) {
    SAME(site("GET", "/", NULL, NULL), "200 index");
    SAME(site("GET", "/index.html", NULL, NULL), "200 index");
    SAME(site("GET", "/a%20b/", NULL, NULL), "200 folder");
    SAME(site("GET", "/a%20b?x=1", "x-forwarded-prefix", "/v1"), "308 ");
    SAME(unit_header(got, "location"), "/v1/a%20b/?x=1");
    const char *const none[] = {"/no", "/index.html/", "//", "/a%2520b/", "/..", "/%00", "/big.js%20"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        SAME(site("GET", none[i], NULL, NULL), "404 none");
    char *flood = hms_sdk_room(NULL, 8001);
    memset(flood, '/', 8000);
    flood[8000] = 0;
    SAME(site("GET", flood, NULL, NULL), "404 none");
    site("POST", "/", NULL, NULL);
    CHECK(got->status == 405);
    SAME(site("GET", "/big.js", "accept-encoding", "gzip, br"), "200 br");
    SAME(unit_header(got, "content-encoding"), "br");
    SAME(site("GET", "/big.js", "accept-encoding", "br;q=0, GZIP"), "200 gzip");
    SAME(site("GET", "/big.js", "accept-encoding", "br;q=0.000, gzip;q=0"), "200 0123456789");
    SAME(site("GET", "/big.js", "accept-encoding", ",;q=,brr,xgzip"), "200 0123456789");
    SAME(site("GET", "/big.js", "if-none-match", "\"j\""), "304 ");
    SAME(ranged("bytes=0-0"), "206 0");
    SAME(unit_header(got, "content-range"), "bytes 0-0/10");
    SAME(ranged("bytes=7-"), "206 789");
    SAME(ranged("bytes=-3"), "206 789");
    SAME(ranged("bytes=-99"), "206 0123456789");
    SAME(ranged("bytes=5-99999999999999999999999"), "206 56789");
    SAME(ranged("bytes=-99999999999999999999999"), "206 0123456789");
    SAME(ranged("bytes=10-"), "416 ");
    SAME(unit_header(got, "content-range"), "bytes */10");
    SAME(ranged("bytes=-0"), "416 ");
    SAME(ranged("bytes=99999999999999999999999-"), "416 ");
    const char *const whole[] = {"", "bytes", "bytes=", "bytes=-", "bytes=3-2", "bytes=a-b",
                                 "bytes=0-1,3-4", "lines=0-1", "bytes=1", "bytes=+1-2"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        SAME(ranged(whole[i]), "200 0123456789");
    SAME(site("HEAD", "/big.js", "range", "bytes=0-0"), "200 0123456789");
}
