//! Calls the URL behind the `?` of its own, which is not encoded, so that one can stand in another:
//! `/get?http://hms-svc-b/get?http://hms-svc-c/`. How it calls is in the path. The answer is passed
//! on; where there is none, the error is the text of a 502.

use bytes::Bytes;
use http_body_util::Full;
use std::sync::atomic::{AtomicU64, Ordering};
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, RequestOptions, Response, Scheme};
use wasip3::http_compat::http_into_wasi_response;

/// Requests at work in this instance.
static AT_WORK: AtomicU64 = AtomicU64::new(0);

/// Forged: what the host says of a request. The last is the guest's own.
const CLAIMS: [(&str, &str); 14] = [
    ("host", "forged.example"),
    ("transfer-encoding", "chunked"),
    ("transfer_encoding", "forged"),
    ("connection", "close, x-own"),
    ("te", "trailers, forged"),
    ("expect", "100-continue"),
    ("x-hms-user", "forged"),
    ("X_HMS_Scopes", "forged"),
    ("x-hms-window", "forged"),
    ("x-request-id", "forged"),
    ("x_request_id", "forged"),
    ("traceparent", "forged"),
    ("proxy-authorization", "forged"),
    ("x-own", "the guest's"),
];

struct Caller;

impl wasip3::exports::http::handler::Guest for Caller {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let (how, target) = path.split_once('?').unwrap_or((&path, ""));
        let (how, number) = how.split_once('-').unwrap_or((how, "0"));
        let number: u64 = number.parse().unwrap_or(0);
        match how {
            // A request of its own, with nothing of the one in hand.
            "/get" => told(send(new(Fields::new(), target)).await),
            // The request itself, sent on: fields, body and all.
            "/pass" => {
                aim(&request, target);
                told(send(request).await)
            }
            // A request of its own, with a copy of the fields, and some that claim an identity.
            "/copy" => {
                let fields = request.get_headers().clone();
                for (name, value) in [
                    ("x-hms-user", "mallory"),
                    ("x_hms_window", "mallory"),
                    ("x-forwarded-for", "192.0.2.1"),
                ] {
                    _ = fields.append(name, value.as_bytes());
                }
                told(send(new(fields, target)).await)
            }
            // A request of its own, with all that is for the host to say.
            "/claim" => {
                let fields = Fields::new();
                for (name, value) in CLAIMS {
                    _ = fields.append(name, value.as_bytes());
                }
                told(send(new(fields, target)).await)
            }
            // A request of its own without a body, which claims to have one of so many bytes.
            "/length" => {
                let fields = Fields::new();
                _ = fields.append("content-length", number.to_string().as_bytes());
                told(send(new(fields, target)).await)
            }
            // So many milliseconds after the request came; says how many were at work then.
            "/hold" => {
                AT_WORK.fetch_add(1, Ordering::Relaxed);
                wait_for(number * 1_000_000).await;
                let at_work = AT_WORK.load(Ordering::Relaxed).to_string();
                let fields = Fields::new();
                _ = fields.append("x-at-work", at_work.as_bytes());
                let answer = told(send(new(fields, target)).await);
                AT_WORK.fetch_sub(1, Ordering::Relaxed);
                answer
            }
            // So many times, one after the other: what came of each, by lines.
            "/times" => {
                let mut lines = String::new();
                for _ in 0..number {
                    match send(new(Fields::new(), target)).await {
                        Ok(answer) => lines += &format!("{}\n", answer.get_status_code()),
                        Err(error) => lines += &format!("{error:?}\n"),
                    }
                }
                text(200, lines)
            }
            // Waits for the first byte of the answer for so many milliseconds.
            "/within" => {
                let options = RequestOptions::new();
                _ = options.set_first_byte_timeout(Some(number * 1_000_000));
                let (_, trailers) = wasip3::wit_future::new(|| Ok(None));
                let (request, _) = Request::new(Fields::new(), None, trailers, Some(options));
                aim(&request, target);
                told(send(request).await)
            }
            // Answers at once, and calls after so many milliseconds.
            "/late" => {
                let request = new(Fields::new(), target);
                wasip3::spawn_local(async move {
                    wait_for(number * 1_000_000).await;
                    match send(request).await {
                        Ok(answer) => println!("late: {}", answer.get_status_code()),
                        Err(error) => println!("late: {error:?}"),
                    }
                });
                text(202, "accepted\n".into())
            }
            _ => text(404, "no such way to call\n".into()),
        }
    }
}

wasip3::http::service::export!(Caller with_types_in wasip3);

async fn send(request: Request) -> Result<Response, ErrorCode> {
    client::send(request).await
}

fn told(answer: Result<Response, ErrorCode>) -> Result<Response, ErrorCode> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(error) => text(502, format!("{error:?}\n")),
    }
}

fn text(status: u16, text: String) -> Result<Response, ErrorCode> {
    let response = http::Response::builder()
        .status(status)
        .body(Full::new(Bytes::from(text)))
        .map_err(|fault| ErrorCode::InternalError(Some(fault.to_string())))?;
    http_into_wasi_response(response)
}

fn new(fields: Fields, target: &str) -> Request {
    let (_, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (request, _) = Request::new(fields, None, trailers, None);
    aim(&request, target);
    request
}

fn aim(request: &Request, target: &str) {
    let (scheme, rest) = target.split_once("://").unwrap_or(("http", target));
    let path = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path);
    let scheme = match scheme {
        "https" => Scheme::Https,
        _ => Scheme::Http,
    };
    _ = request.set_scheme(Some(&scheme));
    _ = request.set_authority(Some(authority));
    _ = request.set_path_with_query(Some(path));
}
