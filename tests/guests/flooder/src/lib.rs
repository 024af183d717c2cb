//! A hostile window, on WASI 0.2 with nothing between: what each path does is said at its arm.

use std::sync::atomic::{AtomicU64, Ordering};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam,
};
use wasip2::io::poll::poll;
use wasip2::random::random::get_random_bytes;

struct Flooder;

/// What an instance remembers, where it is reused.
static SERVED: AtomicU64 = AtomicU64::new(0);

wasip2::http::proxy::export!(Flooder);

impl Guest for Flooder {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.trim_start_matches('/') {
            // Nothing: an answer at once.
            "" => answer(out, 200, Fields::new(), "well\n"),
            // The requests that this instance has served so far: 1 for a fresh one.
            "count" => {
                let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
                answer(out, 200, Fields::new(), &served.to_string());
            }
            // An answer to the first request of an instance alone: it traps at any other.
            "once" => {
                if SERVED.fetch_add(1, Ordering::Relaxed) > 0 {
                    panic!("one request was served, as asked");
                }
                answer(out, 200, Fields::new(), "once\n");
            }
            // ?status: an answer of that status, or 500 where the host takes none of that.
            path if path.starts_with("status?") => {
                let status = argument(path).parse().unwrap_or(500);
                status_of(out, status);
            }
            // ?told-sent: a body of so many bytes, behind a head that tells another length.
            path if path.starts_with("length?") => length(out, argument(path)),
            // ?name: whether the host takes a field of that name.
            path if path.starts_with("field?") => {
                let fields = Fields::new();
                let taken = fields.append(argument(path), b"x").is_ok();
                answer(
                    out,
                    200,
                    fields,
                    if taken { "taken\n" } else { "refused\n" },
                );
            }
            // The trailers of the request, as `name: value` a line.
            "trailers" => trailers(out, &request),
            // The whole body first, then its length as the answer.
            "read" => {
                let length = read(&request);
                answer(out, 200, Fields::new(), &length.to_string());
            }
            // No answer at all.
            "no-response" => {}
            // A million header fields in the answer.
            "many-headers" => {
                let fields = Fields::new();
                for number in 0..1_000_000 {
                    if fields.append(&format!("x-{number}"), b"v").is_err() {
                        return answer(out, 500, Fields::new(), "refused\n");
                    }
                }
                answer(out, 200, fields, "many\n");
            }
            // One header field of 64 MiB.
            "huge-header" => {
                let fields = Fields::new();
                let refused = fields.append("x-huge", &vec![b'v'; 64 << 20]).is_err();
                answer(out, if refused { 500 } else { 200 }, fields, "huge\n");
            }
            // One header field of almost a MiB.
            "large-head" => answer(out, 200, large(), "head\n"),
            // The same behind the body.
            "large-trailers" => answer_with(out, 200, Fields::new(), "body\n", Some(large())),
            // A header that would begin another.
            "split-header" => {
                let fields = Fields::new();
                let refused = fields
                    .append("x-split", b"v\r\nx-injected: yes\r\n\r\nbody")
                    .is_err();
                answer(out, if refused { 500 } else { 200 }, fields, "split\n");
            }
            // Empty pieces of a body for ever; each is waited for.
            "empty-writes" => empty_writes(out, true),
            // The same without waiting.
            "empty-writes-unflushed" => empty_writes(out, false),
            // Waits for what comes in some centuries.
            "poll" => {
                let never = monotonic_clock::subscribe_duration(u64::MAX);
                poll(&[&never]);
            }
            // Handles that are never given back.
            "handles" => loop {
                std::mem::forget(monotonic_clock::subscribe_duration(1));
            },
            // Header fields by handles that are never given back.
            "hoard-fields" => hoard(out, || {
                let fields = Fields::new();
                let _ = fields.append("x", &vec![b'v'; 60_000]);
                std::mem::forget(fields);
            }),
            // A body of 900 KiB, written whole before the answer is given.
            "early-body" => early_body(out),
            // Bodies that are written and that nobody takes.
            "hoard-bodies" => hoard(out, || {
                let response = OutgoingResponse::new(Fields::new());
                let body = response.body();
                let stream = body.as_ref().map(OutgoingBody::write);
                if let Ok(Ok(stream)) = &stream {
                    while let Ok(room @ 1..) = stream.check_write() {
                        let _ = stream.write(&vec![b'b'; room as usize]);
                    }
                }
                std::mem::forget(stream);
                std::mem::forget(body);
                std::mem::forget(response);
            }),
            // The same with trailers behind them.
            "hoard-trailers" => hoard(out, || {
                let response = OutgoingResponse::new(Fields::new());
                let trailers = Fields::new();
                let _ = trailers.append("x", &vec![b'v'; 60_000]);
                if let Ok(body) = response.body() {
                    let _ = OutgoingBody::finish(body, Some(trailers));
                }
                std::mem::forget(response);
            }),
            // Requests with methods of a MiB.
            "hoard-methods" => hoard(out, || {
                let request = OutgoingRequest::new(Fields::new());
                let _ = request.set_method(&Method::Other("M".repeat(1 << 20)));
                std::mem::forget(request);
            }),
            // A list of gigabytes from the host.
            "gigabytes" => {
                let random = get_random_bytes(3 << 30);
                answer(out, 200, Fields::new(), &random.len().to_string());
            }
            // Ten million cheap calls.
            "calls" => {
                for _ in 0..10_000_000 {
                    std::hint::black_box(wall_clock::now());
                }
                answer(out, 200, Fields::new(), "called\n");
            }
            _ => answer(out, 404, Fields::new(), "no such path\n"),
        }
    }
}

fn argument(path: &str) -> &str {
    path.split_once('?').map_or("", |(_, argument)| argument)
}

fn status_of(out: ResponseOutparam, status: u16) {
    let response = OutgoingResponse::new(Fields::new());
    if response.set_status_code(status).is_err() {
        return answer(out, 500, Fields::new(), "no such status\n");
    }
    drop(response);
    answer(out, status, Fields::new(), "as asked\n");
}

fn length(out: ResponseOutparam, lengths: &str) {
    let (told, sent) = lengths.split_once('-').unwrap_or_default();
    let fields = Fields::new();
    let set = fields.append("content-length", told.as_bytes()).is_ok();
    let response = OutgoingResponse::new(fields);
    let body = response.body();
    let (true, Ok(body)) = (set, body) else {
        return answer(out, 500, Fields::new(), "refused\n");
    };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        let sent = vec![b'.'; sent.parse().unwrap_or(0)];
        let _ = stream.blocking_write_and_flush(&sent);
    }
    let _ = OutgoingBody::finish(body, None);
}

fn trailers(out: ResponseOutparam, request: &IncomingRequest) {
    let Ok(body) = request.consume() else { return };
    if let Ok(stream) = body.stream() {
        while stream.blocking_read(64 << 10).is_ok() {}
    }
    let end = IncomingBody::finish(body);
    end.subscribe().block();
    let mut said = String::new();
    if let Some(Ok(Ok(Some(fields)))) = end.get() {
        for (name, value) in fields.entries() {
            said += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
        }
    }
    answer(out, 200, Fields::new(), &said);
}

/// Bytes of the request's body.
fn read(request: &IncomingRequest) -> usize {
    let Ok(body) = request.consume() else {
        return 0;
    };
    let Ok(stream) = body.stream() else { return 0 };
    let mut length = 0;
    while let Ok(piece) = stream.blocking_read(64 << 10) {
        length += piece.len();
    }
    length
}

/// One field of almost a MiB.
fn large() -> Fields {
    let fields = Fields::new();
    let _ = fields.append("x-large", &vec![b'v'; 1_000_000]);
    fields
}

fn answer(out: ResponseOutparam, status: u16, fields: Fields, text: &str) {
    answer_with(out, status, fields, text, None);
}

fn answer_with(
    out: ResponseOutparam,
    status: u16,
    fields: Fields,
    text: &str,
    trailers: Option<Fields>,
) {
    let response = OutgoingResponse::new(fields);
    let (Ok(()), Ok(body)) = (response.set_status_code(status), response.body()) else {
        return;
    };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        let _ = stream.blocking_write_and_flush(text.as_bytes());
    }
    let _ = OutgoingBody::finish(body, trailers);
}

fn early_body(out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let Ok(body) = response.body() else { return };
    let piece = vec![b'e'; 900 << 10];
    {
        let Ok(stream) = body.write() else { return };
        let room = stream.check_write().unwrap_or(0);
        if room < piece.len() as u64 || stream.write(&piece).is_err() {
            return answer(out, 500, Fields::new(), &format!("room for {room} bytes\n"));
        }
    }
    let _ = OutgoingBody::finish(body, None);
    ResponseOutparam::set(out, Ok(response));
}

/// Some thousand times, and an answer if that went well.
fn hoard(out: ResponseOutparam, keep: impl Fn()) {
    for _ in 0..2_000 {
        keep();
    }
    answer(out, 200, Fields::new(), "held\n");
}

fn empty_writes(out: ResponseOutparam, wait: bool) {
    let response = OutgoingResponse::new(Fields::new());
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    let Ok(stream) = body.write() else { return };
    let _ = stream.blocking_write_and_flush(b"first\n");
    loop {
        let written = if wait {
            stream.blocking_write_and_flush(&[])
        } else {
            stream.check_write().and_then(|_| stream.write(&[]))
        };
        if written.is_err() {
            return;
        }
    }
}
