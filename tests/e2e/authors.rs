//! What authors of windows are promised: keys of the store, conditional changes, and fields and
//! parameters that are there several times.

use futures_util::future::join_all;
use hms_harness::{Host, guest, guests, window};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn key_rules_are_the_same_for_every_call_of_both_drafts() {
    let (draft2, draft) = (guest("prober").await, guest("kv-draft").await);
    let host = Host::with_open_windows(&[("new", &draft2), ("old", &draft)]).await;
    let each = async |key: &str| {
        let path = format!("/new/kv-each/b?key={key}");
        host.call(Method::POST, &path, &[], "").await.json()
    };
    let old = async |key: &str| host.get(&format!("/old?key={key}")).await.text();

    for (key, bytes) in [("", 0), (&*"x".repeat(1025), 1025)] {
        let seen = each(key).await;
        let refused = json!({ "set": "invalid", "set-many": "invalid", "increment": "invalid", "swap": "invalid" });
        assert_eq!(seen["writes"], refused, "{bytes} bytes");
        let nothing = json!({ "get": null, "get-many": 0, "exists": false, "listed": [] });
        assert_eq!(seen["reads"], nothing, "{bytes} bytes");
        let deleted = json!({ "delete": "done", "delete-many": "done", "exists": false });
        assert_eq!(seen["deletes"], deleted, "{bytes} bytes");
        assert_eq!(
            old(key).await,
            "invalid invalid invalid None 0 false [] done done false\n",
            "{bytes} bytes"
        );
    }
    assert_eq!(host.failures("new", "key-empty").await, 4);

    let longest = "x".repeat(1024);
    for (key, text) in [
        ("a", "a"),
        ("%00", "\0"),
        ("%C5%BC%2F%20", "ż/ "),
        (&longest, &longest),
    ] {
        let seen = each(key).await;
        let written =
            json!({ "set": "done", "set-many": "done", "increment": "done", "swap": "done" });
        assert_eq!(seen["writes"], written, "{text:?}");
        assert_eq!(seen["reads"]["get"], "3");
        let listed = seen["reads"]["listed"].as_array().unwrap();
        assert!(listed.contains(&json!(text)), "{text:?}: {listed:?}");
        assert_eq!(seen["deletes"]["exists"], false);
    }
    assert_eq!(
        old("a").await,
        "done done done Some(\"2\") 1 true [\"a\", \"beside\"] done done false\n"
    );
}

#[tokio::test]
async fn component_imports_what_its_window_uses_and_no_more() {
    let outside = [
        "wasi:http/client",
        "wasi:config/store",
        "wasi:http/handler",
        "hms:store/transactions",
    ];
    let imports = async |name: &str| {
        let all = guests::imports(&window(name).await);
        assert!(
            all.iter()
                .any(|import| import.starts_with("wasi:http/types@")),
            "{name}: {all:?}"
        );
        let used = |interface: &&str| {
            let versions = format!("{interface}@");
            all.iter().any(|import| import.starts_with(&versions))
        };
        outside.into_iter().filter(used).collect::<Vec<_>>()
    };
    for (name, used) in [
        ("docs", &["hms:store/transactions"][..]),
        ("audit", &["wasi:http/handler"]),
        (
            "payments",
            &[
                "wasi:http/client",
                "wasi:config/store",
                "hms:store/transactions",
            ],
        ),
        (
            "notifications",
            &[
                "wasi:http/client",
                "wasi:config/store",
                "hms:store/transactions",
            ],
        ),
        (
            "passports",
            &["wasi:config/store", "hms:store/transactions"],
        ),
    ] {
        assert_eq!(imports(name).await, used, "{name}");
    }
}

#[tokio::test]
async fn concurrent_conditional_writes_overwrite_nothing() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("w", &prober)]).await;
    let host = &host;
    let put = async |field: &str, value: &str, text: &str| {
        let fields = [(field, value)];
        host.call(Method::PUT, "/w/note/b/k", &fields, text.to_owned())
            .await
    };

    let first = join_all((0..10).map(|_| put("if-none-match", "*", "0"))).await;
    let made = first.iter().filter(|answer| answer.status == 204).count();
    let failed = first.iter().filter(|answer| answer.status == 412).count();
    assert_eq!((made, failed), (1, 9), "{first:?}");

    // Each adds one to what it has read, until its own change is there.
    let writers = (0..8).map(|_| async move {
        for _ in 0..200 {
            let seen = host.get("/w/note/b/k").await;
            let sum = seen.text().parse::<u64>().unwrap() + 1;
            let fields = [("if-match", seen.header("etag"))];
            let answer = host
                .call(Method::PUT, "/w/note/b/k", &fields, sum.to_string())
                .await;
            match answer.status.as_u16() {
                204 => return,
                412 => {}
                status => panic!("{status} {}", answer.text()),
            }
        }
        panic!("never its turn");
    });
    join_all(writers).await;
    let last = host.get("/w/note/b/k").await;
    assert_eq!((last.text().as_str(), last.header("etag")), ("8", "\"9\""));

    let stale = put("if-match", "\"8\"", "x").await;
    assert_eq!(stale.problem(), "precondition-failed");
    let fields = [("if-none-match", "W/\"9\"")];
    let known = host.call(Method::GET, "/w/note/b/k", &fields, "").await;
    assert_eq!(
        (known.status.as_u16(), known.header("etag")),
        (304, "\"9\"")
    );
}

#[tokio::test]
async fn fields_and_parameters_can_occur_several_times() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("w", &prober)]).await;
    let answer = host.get("/w/tags?tag=a&x=y&tag=b%26c&tag=").await;
    assert_eq!(answer.json(), json!(["a", "b&c", ""]));
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    // The route strips the prefix, which the window knows nothing of.
    assert_eq!(
        cookies,
        ["tag=a; Path=/w", "tag=b&c; Path=/w", "tag=; Path=/w"]
    );
}
