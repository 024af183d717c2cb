//! The plugin `cache`: here what is stored, and what answers say of it. `callers` is who gets it,
//! `route` what it has to do with other plugins and with changes, and `releases` what it does
//! before windows.

mod callers;
mod releases;
mod route;

use hms_harness::services::{Reply, Seen, Server};
use hms_harness::{Answer, Host, Options};
use http::Method;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A service that answers with the status and the fields that the query says, as
/// `?status=404&fields=cache-control:max-age=60|vary:x-a`, and the number of the request.
async fn service() -> Server {
    let asked = AtomicUsize::new(0);
    Server::start(move |seen| reply(seen, asked.fetch_add(1, SeqCst) + 1)).await
}

fn reply(seen: &Seen, number: usize) -> Reply {
    let query = seen.path.split_once('?').map_or("", |(_, query)| query);
    let params = query.split('&').filter_map(|pair| pair.split_once('='));
    let param = |wanted| params.clone().find(|(name, _)| *name == wanted);
    let status = param("status").map_or(200, |(_, status)| status.parse().unwrap());
    let size = param("size").map_or(0, |(_, size)| size.parse().unwrap());
    let body = json!({"asked": number, "fill": "x".repeat(size)});
    let fields = param("fields").map_or("", |(_, fields)| fields);
    let fields = fields.replace("%20", " ").replace("%22", "\"");
    let fields = fields.split('|').filter_map(|field| field.split_once(':'));
    fields.fold(Reply::new(status, body), |reply, (name, value)| {
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        reply.with_header(name, value)
    })
}

/// A host with the route `/s/**` to the service, with these plugins.
async fn host(service: &Server, plugins: &str, args: &[&str]) -> Host {
    let args = [&["--upstream-allow", "127.0.0.0/8"], args].concat();
    Host::start_with(Options {
        args: args.into_iter().map(str::to_owned).collect(),
        routes: vec![("s.yaml", route(service, plugins))],
        ..Options::default()
    })
    .await
}

fn route(service: &Server, plugins: &str) -> String {
    let url = service.url();
    format!("uri: /s/**\nupstream: {url}\nstrip-prefix: /s\nplugins:\n{plugins}")
}

const CACHE: &str = "  - cache\n";

async fn cached() -> (Server, Host) {
    let service = service().await;
    let host = host(&service, CACHE, &[]).await;
    (service, host)
}

/// What `Cache-Status` says, after the name of the cache.
fn said(answer: &Answer) -> &str {
    answer.header("cache-status").trim_start_matches("hms; ")
}

const FRESH: &str = "/s/a?fields=cache-control:max-age=600";

#[tokio::test]
async fn stored_answer_is_repeated_with_its_age_and_everything_says_so() {
    let (service, host) = cached().await;
    let path = format!("{FRESH}|age:100|hms-cache-control:max-age=600|content-language:en");
    let first = host.get(&path).await;
    assert_eq!(
        (first.status.as_u16(), said(&first)),
        (200, "fwd=miss; stored")
    );
    let second = host.get(&path).await;
    assert_eq!((second.status.as_u16(), said(&second)), (200, "hit"));
    assert_eq!(second.body, first.body);
    let age: u64 = second.header("age").parse().unwrap();
    assert!((100..160).contains(&age), "{age}");
    for name in ["date", "content-type", "content-language", "cache-control"] {
        let value = first.header(name);
        assert_eq!(
            (second.header(name), value.is_empty()),
            (value, false),
            "{name}"
        );
    }
    for answer in [&first, &second] {
        assert_eq!(
            answer.header("hms-cache-control"),
            "",
            "it is for the gateway alone"
        );
    }
    let id = |answer: &Answer| answer.header("x-request-id").to_owned();
    assert_ne!(id(&first), id(&second));

    // HEAD is answered from the answer to GET, by HTTP/2 too.
    let head = host.call(Method::HEAD, &path, &[], "").await;
    let length = first.body.len().to_string();
    assert_eq!(
        (said(&head), head.header("content-length")),
        ("hit", &*length)
    );
    assert_eq!(service.seen().len(), 1);
    // The answer to HEAD is not stored, and one without the plugin says nothing of a cache.
    let unknown = FRESH.replace("/a?", "/head?");
    for _ in 0..2 {
        let head = host.call(Method::HEAD, &unknown, &[], "").await;
        assert_eq!(said(&head), "fwd=miss");
    }

    let outcome =
        |word| format!("hms_gateway_cache_requests_total{{route=\"s\",outcome=\"{word}\"}}");
    assert_eq!(host.metric(&outcome("hit")).await, Some(2));
    assert_eq!(host.metric(&outcome("miss")).await, Some(3));
    assert_eq!(host.metric("hms_gateway_cache_stored_total").await, Some(1));
    assert_eq!(host.metric("hms_gateway_cache_entries").await, Some(1));
    let bytes = host.metric("hms_gateway_cache_bytes").await.unwrap();
    assert!((500..5000).contains(&bytes), "{bytes}");
    let log = host.whole_log().await;
    let line = log.lines().find(|line| line.contains(&id(&second)));
    assert!(
        line.is_some_and(|line| line.contains("cache=\"hit\"")),
        "{log}"
    );
}

#[tokio::test]
async fn answer_is_stored_only_where_it_declares_that_it_is_fresh_for_all() {
    let (_service, host) = cached().await;
    let fresh = "cache-control:max-age=600";
    let stored = [
        "fields=cache-control:s-maxage=600,max-age=0",
        "fields=cache-control:no-store|hms-cache-control:max-age=600",
        "fields=cache-control:no-cache|cdn-cache-control:max-age=600",
        "fields=cache-control:max-age=600|hms-cache-control:broken=",
        "status=404&fields=cache-control:max-age=600",
        "status=301&fields=cache-control:max-age=600|location:/x",
        "fields=cache-control:max-age=600|vary:x-a,host",
        "size=900000&fields=cache-control:max-age=600",
    ];
    let not_stored = [
        "fields=etag:x".to_owned(),
        "fields=cache-control:public".into(),
        "fields=cache-control:max-age=0".into(),
        "fields=cache-control:max-age=600,no-store".into(),
        "fields=cache-control:max-age=600,no-cache".into(),
        "fields=cache-control:max-age=600,private".into(),
        "fields=cache-control:max-age=600|hms-cache-control:no-store".into(),
        "fields=cache-control:max-age=600|cdn-cache-control:private".into(),
        format!("fields={fresh}|set-cookie:a=b"),
        format!("fields={fresh}|vary:*"),
        format!("fields={fresh}|vary:x-a|vary:traceparent"),
        format!("fields={fresh}|age:600"),
        format!("status=206&fields={fresh}|content-range:bytes/0-1"),
        format!("status=500&fields={fresh}"),
        format!("status=302&fields={fresh}"),
        format!("size=1100000&fields={fresh}"),
    ];
    let all = stored.iter().map(|query| (*query, "hit"));
    let all = all.chain(not_stored.iter().map(|query| (query.as_str(), "fwd=miss")));
    for (query, expected) in all {
        let path = format!("/s/x?{query}");
        host.get(&path).await;
        let second = host.get(&path).await;
        assert_eq!(said(&second), expected, "{query}");
    }
    let large = "hms_gateway_cache_not_stored_total{reason=\"too-large\"}";
    assert_eq!(host.metric(large).await, Some(2));
}

#[tokio::test]
async fn answer_that_breaks_off_is_not_stored() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", service.local_addr().unwrap());
    // The first answer has half of its body, the others have all of it.
    tokio::spawn(async move {
        for body in ["half", "halfhalf", "halfhalf"] {
            let (mut stream, _) = service.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 8\r\n\r\n";
            stream
                .write_all(format!("{head}{body}").as_bytes())
                .await
                .unwrap();
        }
    });
    let host = Host::start_with(Options {
        args: ["--upstream-allow", "127.0.0.0/8"]
            .map(str::to_owned)
            .into(),
        routes: vec![(
            "s.yaml",
            format!("uri: /s/**\nupstream: {url}\nplugins: [cache]\n"),
        )],
        ..Options::default()
    })
    .await;
    let cut = host.get("/s/x").await;
    assert_eq!((said(&cut), &*cut.text()), ("fwd=miss; stored", "half"));
    assert!(cut.cut.is_some());
    for expected in ["fwd=miss; stored", "hit"] {
        let whole = host.get("/s/x").await;
        assert_eq!((said(&whole), &*whole.text()), (expected, "halfhalf"));
    }
}

#[tokio::test]
async fn client_that_has_the_answer_gets_304_without_its_body() {
    let (service, host) = cached().await;
    let modified = "last-modified:Wed,%2025%20Nov%202026%2010:00:00%20GMT";
    let path = format!("{FRESH}|etag:%22tag%22|{modified}");
    host.get(&path).await;
    for (name, value, status) in [
        ("if-none-match", "\"tag\"", 304),
        ("if-none-match", "\"other\", W/\"tag\"", 304),
        ("if-none-match", "\"other\"", 200),
        ("if-modified-since", "Wed, 25 Nov 2026 10:00:00 GMT", 304),
        ("if-modified-since", "Wed, 25 Nov 2026 09:59:59 GMT", 200),
    ] {
        let answer = host.call(Method::GET, &path, &[(name, value)], "").await;
        let found = (answer.status.as_u16(), said(&answer));
        assert_eq!(found, (status, "hit"), "{name}: {value}");
        assert_eq!(answer.header("etag"), "\"tag\"");
        assert_eq!(answer.body.is_empty(), status == 304);
        assert_eq!(answer.header("content-type").is_empty(), status == 304);
    }
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn client_can_neither_ask_past_the_cache_nor_for_a_part() {
    let (service, host) = cached().await;
    host.get(FRESH).await;
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=0"),
        ("cache-control", "no-store"),
        ("pragma", "no-cache"),
    ] {
        let answer = host.call(Method::GET, FRESH, &[(name, value)], "").await;
        assert_eq!(said(&answer), "hit", "{name}: {value}");
    }
    assert_eq!(service.seen().len(), 1);
    let part = host
        .call(Method::GET, FRESH, &[("range", "bytes=0-1")], "")
        .await;
    assert_eq!(said(&part), "fwd=bypass");
    let body = host.call(Method::GET, FRESH, &[], "a body").await;
    assert_eq!(said(&body), "fwd=bypass");
    assert_eq!(service.seen().len(), 3);
    // What asks to be stored nowhere is not stored, though it may be answered.
    let other = FRESH.replace("/a?", "/b?");
    let no_store = [("cache-control", "no-store")];
    for _ in 0..2 {
        let answer = host.call(Method::GET, &other, &no_store, "").await;
        assert_eq!(said(&answer), "fwd=miss");
    }
}

#[tokio::test]
async fn each_variant_is_stored_and_given_to_those_that_match_it() {
    let (service, host) = cached().await;
    let path = format!("{FRESH}|vary:accept-language,x-b");
    let ask = async |headers: &[(&str, &str)]| {
        let answer = host.call(Method::GET, &path, headers, "").await;
        (
            said(&answer).to_owned(),
            answer.json()["asked"].as_u64().unwrap(),
        )
    };
    let (german, english) = ([("accept-language", "de")], [("accept-language", "en")]);
    let both = [("accept-language", "de"), ("x-b", "1")];
    for (number, headers) in [(1, &german[..]), (2, &english), (3, &[]), (4, &both)] {
        assert_eq!(ask(headers).await, ("fwd=miss; stored".into(), number));
    }
    for (number, headers) in [(1, &german[..]), (2, &english), (3, &[]), (4, &both)] {
        assert_eq!(ask(headers).await, ("hit".into(), number));
    }
    assert_eq!(service.seen().len(), 4);
}
