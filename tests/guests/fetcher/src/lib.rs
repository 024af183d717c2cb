//! A window that calls wherever it is told to, with all that the SDK has for it.
//!
//!     GET  /get?url=                   the answer, passed on unread
//!     ANY  /forward?url=               the request in hand sent on, and the answer passed on
//!     POST /stream?url=                the body sent on in chunks; how many bytes came back
//!     GET  /call/{window}?path=        another window's answer
//!     GET  /fail?url=&first-byte-ms=   {"kind", "may_have_arrived", "text"} of the error
//!     GET  /config/{name}              the value, or 404
//!     GET  /secret/{name}              {"value", "debug"}, or 404

use hms_window::{
    Method, Problem, Request, Response, Timeouts, call, config, fetch, secret, window,
};
use serde_json::json;

window!(handle);

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
