//! A window that calls wherever it is told to, with all that the SDK has for it.
//!
//!     GET  /get?url=                   the answer, passed on unread
//!     ANY  /forward?url=               the request in hand sent on, and the answer passed on
//!     POST /stream?url=                the body sent on in chunks; how many bytes came back
//!     GET  /call/{window}?path=        another window's answer
//!     GET  /forge/{window}?path=       another window's answer to what looks like a delivery
//!     GET  /fail?url=&first-byte-ms=   {"kind", "may_have_arrived", "text"} of the error
//!     GET  /config/{name}              the value, or 404
//!     GET  /secret/{name}              {"value", "debug"}, or 404
//!     GET  /leak/{how}/{name}          tells a secret: `print`, `panic`, `cause` of a 500, or
//!                                      `problem`, in the answer itself
//!     GET  /raise/{name}               tells it in the error that is there in place of an answer

use hms_window::{Method, Problem, Request, Response, Timeouts, call, config, fetch, secret};
use serde_json::json;
use wasip3::http::types::{self, ErrorCode};

struct Fetcher;

impl wasip3::exports::http::handler::Guest for Fetcher {
    async fn handle(request: types::Request) -> Result<types::Response, ErrorCode> {
        // The SDK has no way to say this.
        let path = request.get_path_with_query().unwrap_or_default();
        if let Some(name) = path.strip_prefix("/raise/") {
            let value = secret(name).map(|secret| secret.expose().to_owned());
            return Err(ErrorCode::InternalError(value));
        }
        hms_window::__private::serve(request, handle).await
    }
}

wasip3::http::service::export!(Fetcher with_types_in wasip3);

async fn handle(request: Request) -> Result<Response, Problem> {
    let url = request.param::<String>("url")?.unwrap_or_default();
    match (request.method(), &*request.segments()) {
        (&Method::GET, ["get"]) => Ok(fetch(Request::get(&url)).await?),
        (_, ["forward"]) => Ok(fetch(request.with_url(&url)).await?),
        (&Method::POST, ["stream"]) => stream(&request, &url).await,
        (&Method::GET, ["call", window]) => {
            let path = request.param::<String>("path")?.unwrap_or_default();
            Ok(call(window, Request::get(&path)).await?)
        }
        (&Method::GET, ["forge", window]) => {
            let path = request.param::<String>("path")?.unwrap_or_default();
            Ok(call(window, forged(&path)?).await?)
        }
        (&Method::GET, ["fail"]) => fail(&request, &url).await,
        (&Method::GET, ["config", name]) => {
            let value = config(name).ok_or_else(Problem::not_found)?;
            Ok(Response::text(200, value))
        }
        (&Method::GET, ["secret", name]) => {
            let secret = secret(name).ok_or_else(Problem::not_found)?;
            let debug = format!("{secret:?}");
            let shown = json!({ "value": secret.expose(), "debug": debug });
            Ok(Response::json(200, &shown))
        }
        (&Method::GET, ["leak", how, name]) => {
            let secret = secret(name).ok_or_else(Problem::not_found)?;
            leak(how, secret.expose())
        }
        _ => Err(Problem::not_found()),
    }
}

/// An event that no host delivers.
fn forged(path: &str) -> Result<Request, Problem> {
    Request::post(path)
        .with_header("x-hms-delivery", "all; attempt=1; round=0")?
        .with_header("ce-specversion", "1.0")?
        .with_header("ce-id", "1")?
        .with_header("ce-source", "urn:hms:window:emitter")?
        .with_header("ce-type", "test.done.v1")
}

fn leak(how: &str, value: &str) -> Result<Response, Problem> {
    match how {
        "print" => {
            println!("out: {value}");
            eprintln!("err: {value}");
            Ok(Response::empty(204))
        }
        "panic" => panic!("the key is {value}"),
        "cause" => Err(Problem::internal(value)),
        "problem" => Err(Problem::new(500, "leaked", value)),
        _ => Err(Problem::not_found()),
    }
}

async fn stream(request: &Request, url: &str) -> Result<Response, Problem> {
    let mut body = request.body();
    let sent = Request::post(url).with_stream(async move |out| {
        while let Some(chunk) = body.chunk().await? {
            out.write(chunk).await?;
        }
        Ok(())
    });
    let answer = fetch(sent).await?;
    let (status, mut body) = (answer.status().as_u16(), answer.into_body());
    let (mut bytes, mut chunks) = (0, 0);
    while let Some(chunk) = body.chunk().await? {
        bytes += chunk.len();
        chunks += 1;
    }
    let seen = json!({ "status": status, "bytes": bytes, "chunks": chunks });
    Ok(Response::json(200, &seen))
}

async fn fail(request: &Request, url: &str) -> Result<Response, Problem> {
    let mut asked = Request::get(url);
    if let Some(ms) = request.param("first-byte-ms")? {
        asked = asked.with_timeouts(Timeouts::new().first_byte_ms(ms));
    }
    let outcome = match fetch(asked).await {
        Ok(answer) => answer.into_body().read_to_end(usize::MAX).await.map(drop),
        Err(error) => Err(error),
    };
    Ok(match outcome {
        Ok(()) => Response::empty(204),
        Err(error) => Response::json(
            200,
            &json!({
                "kind": format!("{:?}", error.kind()),
                "may_have_arrived": error.may_have_arrived(),
                "text": error.to_string(),
            }),
        ),
    })
}
