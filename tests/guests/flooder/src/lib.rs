//! A hostile window, on WASI 0.2 with nothing between: what each path does is said at its arm.

use std::sync::atomic::{AtomicU64, Ordering};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam,
};
use wasip2::io::poll::poll;
use wasip2::random::random::get_random_bytes;

struct Flooder;

/// What a clerk remembers, where it is reused.
static SERVED: AtomicU64 = AtomicU64::new(0);

wasip2::http::proxy::export!(Flooder);

impl Guest for Flooder {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.trim_start_matches('/') {
            // Nothing: an answer at once.
            "" => answer(out, 200, Fields::new(), "well\n"),
            // The requests that this clerk has served so far: 1 for a fresh one.
            "count" => {
                let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
                answer(out, 200, Fields::new(), &served.to_string());
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
            // Bodies that are written and that nobody takes.
            "hoard-bodies" => hoard(out, || {
                let response = OutgoingResponse::new(Fields::new());
                let body = response.body();
                let stream = body.as_ref().map(OutgoingBody::write);
                if let Ok(Ok(stream)) = &stream {
                    while let Ok(1..) = stream.check_write() {
                        let _ = stream.write(&vec![b'b'; 64 << 10]);
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
