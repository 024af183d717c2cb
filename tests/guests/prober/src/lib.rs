//! A window that does on request what guests do, good and bad. The host's tests talk to it; what
//! each path does is said at its arm in [`handle`].

mod bad;
mod hoard;
mod kv;
mod note;
mod raw;

use hms_window::sse::Event;
use hms_window::{Method, Problem, Request, Response, sleep_ms};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use wasip3::http::types::{self, ErrorCode};

struct Prober;

/// What an instance remembers, where it is reused.
static SERVED: AtomicU64 = AtomicU64::new(0);

impl wasip3::exports::http::handler::Guest for Prober {
    async fn handle(request: types::Request) -> Result<types::Response, ErrorCode> {
        // `/no-response`: an error instead of an answer. The SDK has no way to say this, so it is
        // said here.
        if request
            .get_path_with_query()
            .is_some_and(|path| path.ends_with("/no-response"))
        {
            return Err(ErrorCode::InternalError(Some("no answer, as asked".into())));
        }
        let path = request.get_path_with_query().unwrap_or_default();
        if let Some(what) = path.strip_prefix("/raw/") {
            return raw::answer(what, request).await;
        }
        hms_window::__private::serve(request, handle).await
    }
}

wasip3::http::service::export!(Prober with_types_in wasip3);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        // What came, as it comes.
        (_, ["echo"]) => Ok(echo(&request)),
        // The whole body first, then its length as the answer.
        (_, ["read"]) => {
            let body = request.body().read_to_end(64 << 20).await?;
            Ok(Response::text(200, body.len().to_string()))
        }
        // Every header that the instance saw: {"name": ["value", …]}.
        (_, ["headers"]) => Ok(headers(&request)),
        // What of the machine the instance can see.
        (_, ["env"]) => Ok(env()),
        // ?code=: that status.
        (_, ["status"]) => Ok(Response::text(
            request.param("code")?.unwrap_or(200),
            "as asked\n",
        )),
        // ?ms=: after its whole body and a while, who was served by this instance so far: itself
        // included, as one number; 1 for a fresh one.
        (_, ["count"]) => {
            let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
            request.body().read_to_end(64 << 20).await?;
            sleep_ms(request.param("ms")?.unwrap_or(0)).await;
            Ok(Response::text(200, served.to_string()))
        }
        // An answer to the first request of an instance alone: it traps at any other.
        (_, ["once"]) => match SERVED.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(Response::text(200, "once\n")),
            _ => bad::trap(),
        },
        // ?ms=: an answer after a while.
        (_, ["sleep"]) => {
            let ms = request.param("ms")?.unwrap_or(1000);
            sleep_ms(ms).await;
            Ok(Response::text(200, format!("slept {ms} ms\n")))
        }
        // ?chunks=&ms=: numbered lines, with a pause after each.
        (_, ["slow-body"]) => {
            let (chunks, ms) = (
                request.param("chunks")?.unwrap_or(10),
                request.param("ms")?.unwrap_or(100),
            );
            Ok(slow_body(chunks, ms))
        }
        // ?ms=: two events, and pings every 100 ms meanwhile.
        (_, ["events"]) => Ok(events(request.param("ms")?.unwrap_or(1000))),
        // ?mib=: so many MiB, made while they are sent.
        (_, ["big"]) => Ok(big(request.param("mib")?.unwrap_or(1))),
        // ?url=: tries to reach the network, and tells how that ended.
        (_, ["outbound"]) => outbound(&request.param::<String>("url")?.unwrap_or_default()).await,

        // GET, PUT, DELETE on one key; GET ?cursor=[&limit=] for the keys; POST {"key": "value"}
        // for many at once.
        (method, ["kv", bucket, key]) => kv::one(&request, method, bucket, key).await,
        (&Method::GET, ["kv", bucket]) => kv::list(&request, bucket),
        (&Method::POST, ["kv-many", bucket]) => kv::many(&request, bucket).await,
        // ?by=: adds to a number, and answers the sum.
        (&Method::POST, ["incr", bucket, key]) => kv::increment(&request, bucket, key),
        // Adds one to a number, and then reads the request's body; traps where that is cut.
        (&Method::POST, ["incr-and-read", bucket, key]) => {
            let sum = kv::increment(&request, bucket, key)?;
            if request.body().read_to_end(1 << 20).await.is_err() {
                bad::trap();
            }
            Ok(sum)
        }
        // ?key=: does each thing that the store has with that key; answers what came of it.
        (&Method::POST, ["kv-each", bucket]) => kv::each(&request, bucket),
        // GET and PUT of a text that has a version, with the conditions of the request.
        (&Method::GET | &Method::PUT, ["note", bucket, key]) => {
            note::handle(&request, bucket, key).await
        }
        // ?tag=&tag=: each value in a Set-Cookie of its own, and all of them in the body.
        (_, ["tags"]) => {
            let tags: Vec<String> = request.params("tag")?;
            let response = Response::json(200, &tags);
            let cookie = |response: Response, tag: &String| {
                response.append("set-cookie", format!("tag={tag}; Path=/"))
            };
            Ok(tags.iter().fold(response, cookie))
        }
        // Appends the request's body to a list by compare-and-swap, and answers the list.
        (&Method::POST, ["cas", bucket, key]) => kv::append(&request, bucket, key).await,

        // Never ends, and never waits.
        (_, ["spin"]) => bad::spin(),
        // ?turns=: computes for as long as that many turns of a loop take.
        (_, ["work"]) => Ok(Response::text(
            200,
            bad::work(request.param("turns")?.unwrap_or(1)).to_string(),
        )),
        // ?mib=[&ms=]: takes memory and writes to all of it, and holds it for a while.
        (_, ["alloc"]) => {
            bad::alloc(
                request.param("mib")?.unwrap_or(1),
                request.param("ms")?.unwrap_or(0),
            )
            .await
        }
        // Traps before there is an answer.
        (_, ["trap"]) => bad::trap(),
        // Sends half of a body whose length it has told (?length=false: has not), then traps.
        (_, ["trap-mid"]) => Ok(bad::trap_mid(request.param("length")?.unwrap_or(true))),
        // ?lines=&bytes=[&newline=false]: so many lines of that length to standard output, and as
        // many to standard error.
        (_, ["log"]) => Ok(bad::log(
            request.param("lines")?.unwrap_or(1),
            request.param("bytes")?.unwrap_or(10),
            request.param("newline")?.unwrap_or(true),
        )),
        // ?text=: a line with that text to standard output.
        (_, ["say"]) => {
            println!("{}", request.param::<String>("text")?.unwrap_or_default());
            Ok(Response::empty(204))
        }
        // Calls itself until the stack is used up.
        (_, ["recurse"]) => Ok(Response::text(200, bad::recurse(0).to_string())),
        // A body without an end.
        (_, ["endless"]) => Ok(bad::endless()),
        // A body of empty pieces without an end.
        (_, ["empty-pieces"]) => Ok(bad::empty_pieces()),
        // Answers without a look at what is uploaded.
        (_, ["unread"]) => Ok(Response::text(200, "not read\n")),
        // Has the host keep much of something.
        (_, ["hoard", what]) => hoard::hoard(what).await,
        // Begins tasks at the host that never end.
        (_, ["subtasks"]) => bad::subtasks().await,
        // Blocks for some centuries.
        (_, ["poll"]) => Ok(bad::poll()),
        // ?count=[&bytes=&from=]: fills a bucket with so many keys, until the store is full or they
        // are there.
        (_, ["fill", bucket]) => {
            let from = request.param("from")?.unwrap_or(0);
            let count: usize = request.param("count")?.unwrap_or(1000);
            kv::fill(
                bucket,
                from..from + count,
                request.param("bytes")?.unwrap_or(1),
            )
        }
        // Reads every key of a bucket; answers how many.
        (_, ["scan", bucket]) => kv::scan(bucket),
        _ => Err(Problem::not_found()),
    }
}

fn echo(request: &Request) -> Response {
    let content_type = request
        .text("content-type")
        .unwrap_or("application/octet-stream");
    let mut body = request.body();
    let echo = Response::stream(200, async move |out| {
        while let Some(chunk) = body.chunk().await? {
            out.write(chunk).await?;
        }
        Ok(())
    });
    echo.header("content-type", content_type)
}

fn headers(request: &Request) -> Response {
    let mut seen = Map::new();
    for name in request.headers().keys() {
        let values = request.headers().get_all(name).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        seen.insert(name.to_string(), json!(values));
    }
    Response::json(200, &Value::Object(seen))
}

fn env() -> Response {
    let variables: Map<String, Value> = std::env::vars()
        .map(|(name, value)| (name, json!(value)))
        .collect();
    Response::json(
        200,
        &json!({
            "args": std::env::args().collect::<Vec<_>>(),
            "variables": variables,
            "folders": wasip3::filesystem::preopens::get_directories().len(),
            "file": kind(std::fs::read("/etc/passwd")),
            "socket": kind(std::net::TcpStream::connect("127.0.0.1:80")),
            "datagrams": kind(std::net::UdpSocket::bind("127.0.0.1:0")),
        }),
    )
}

fn kind<T>(result: std::io::Result<T>) -> String {
    result.map_or_else(|error| format!("{:?}", error.kind()), |_| String::new())
}

fn slow_body(chunks: u64, ms: u64) -> Response {
    Response::stream(200, async move |out| {
        for chunk in 0..chunks {
            out.write(format!("chunk {chunk}\n")).await?;
            sleep_ms(ms).await;
        }
        Ok(())
    })
}

fn events(ms: u64) -> Response {
    Response::events(async move |events| {
        events.ping_every_ms(100);
        events.send(&Event::new("first")).await?;
        events.waiting(sleep_ms(ms)).await?;
        events.send(&Event::new("second")).await
    })
}

fn big(mib: u64) -> Response {
    let response = Response::stream(200, async move |out| {
        for number in 0..mib * 16 {
            // Each 64 KiB block begins with its number, so that a lost or doubled one shows.
            let mut block = vec![b'.'; 64 * 1024];
            block.splice(0..16, format!("{number:015}\n").into_bytes());
            out.write(block).await?;
        }
        Ok(())
    });
    response.header("content-length", mib * 1024 * 1024)
}

async fn outbound(url: &str) -> Result<Response, Problem> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (_, end) = wasip3::wit_future::new(|| Ok(None));
    let (request, _sent) = types::Request::new(types::Fields::new(), None, end, None);
    let scheme = if scheme == "https" {
        types::Scheme::Https
    } else {
        types::Scheme::Http
    };
    let path = if path.is_empty() { "/" } else { path };
    if request.set_scheme(Some(&scheme)).is_err()
        || request.set_authority(Some(authority)).is_err()
        || request.set_path_with_query(Some(path)).is_err()
    {
        return Err(Problem::bad_request("?url= is not a URL"));
    }
    Ok(match wasip3::http::client::send(request).await {
        Ok(response) => Response::json(200, &json!({ "status": response.get_status_code() })),
        Err(error) => Response::json(200, &json!({ "error": format!("{error:?}") })),
    })
}
