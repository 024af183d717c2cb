//! Components that know nothing of us are windows too, in both generations of WASI HTTP.

use hms_harness::services::{Reply, Server};
use hms_harness::{Host, eventually, guest, guests};

#[tokio::test]
async fn wstd_and_wasip3_guests_are_deployed_and_answer() {
    let (older, newer) = (guest("hello-wstd").await, guest("hello-wasip3").await);
    let host = Host::with_open_windows(&[("older", &older), ("newer", &newer)]).await;
    for (window, hello) in [
        ("older", "hello from hello-wstd 1\n"),
        ("newer", "hello from hello-wasip3 1\n"),
    ] {
        for _ in 0..3 {
            let answer = host.get(&format!("/{window}")).await;
            assert_eq!(
                (answer.status.as_u16(), answer.text().as_str()),
                (200, hello)
            );
        }
    }
}

#[tokio::test]
async fn first_keyvalue_draft_works_completely() {
    let host = Host::with_open_windows(&[("w", &guest("kv-draft").await)]).await;
    // What was set, whether it is there after delete, the counter, how many of two were found, the
    // keys over all pages (1,500 and the counter), and those after the first 1,400 once two are
    // deleted.
    assert_eq!(
        host.get("/w").await.text(),
        "Some([49]) false 2 1 1501 99\n"
    );
    assert_eq!(
        host.get("/w").await.text(),
        "Some([49]) false 4 1 1501 99\n"
    );
}

#[tokio::test]
async fn components_of_both_generations_of_spins_sdk_are_deployed_and_keep_what_they_set() {
    let (earlier, later) = (guest("spin-v2").await, guest("spin-v3").await);
    let host = Host::with_open_windows(&[("earlier", &earlier), ("later", &later)]).await;
    for window in ["earlier", "later"] {
        let get = |path: &'static str| {
            let (host, path) = (&host, format!("/{window}{path}"));
            async move { host.get(&path).await.text() }
        };
        let seen = "Some([49]) true false None 2 [\"b\", \"c\"]\n";
        assert_eq!(get("/probe").await, seen);
        assert_eq!(get("/keys").await, "2 [\"b\", \"c\"]\n");
        assert!(get("/variable?currency").await.contains("Undefined"));
    }
}

#[tokio::test]
async fn components_of_both_generations_of_spins_sdk_call_the_services_they_are_granted() {
    let service = Server::start(|seen| Reply::new(201, seen.path.clone().into())).await;
    let (earlier, later) = (guest("spin-v2").await, guest("spin-v3").await);
    let host = Host::with_open_windows(&[("earlier", &earlier), ("later", &later)]).await;
    let url = service.url();
    for window in ["earlier", "later"] {
        let path = format!("/{window}/send?{url}/a?b=c");
        let denied = host.get(&path).await.text();
        assert!(denied.contains("HttpRequestDenied"), "{window}: {denied}");
        assert!(service.seen().is_empty());
    }
    for window in ["earlier", "later"] {
        let grant = format!("outbound:\n  - to: {url}\n    private: [127.0.0.0/8]\n");
        host.write_grants(window, &grant);
    }
    for window in ["earlier", "later"] {
        let path = format!("/{window}/send?{url}/a?b=c");
        eventually("the service answers", || async {
            (host.get(&path).await.text() == "201 \"/a?b=c\"\n").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn unknown_imports_end_the_request_that_calls_them_if_the_operator_agrees() {
    let mut host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let file = guests::path("importer").await;
    let deploy = async |host: &Host, more: &[&str]| {
        let args = [&[file.to_str().unwrap(), "--as", "w"], more].concat();
        let output = host.cli("deploy", &args).await;
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (done, said) = deploy(&host, &[]).await;
    assert!(!done && said.contains("acme:vault/doors@1.2.3"), "{said}");
    assert!(said.contains("--trap-unknown"), "{said}");
    let trapped = "1 interface ends the request if called: acme:vault/doors@1.2.3";
    let (done, said) = deploy(&host, &["--trap-unknown"]).await;
    assert!(!done && said.contains(trapped), "{said}");
    assert!(said.contains("--yes"), "{said}");
    let (done, said) = deploy(&host, &["--trap-unknown", "--yes"]).await;
    assert!(done && said.contains(trapped), "{said}");

    let serves = async |host: &Host| {
        assert_eq!(host.get("/w/config-all").await.text(), "Ok([])\n");
        let ended = host.get("/w/door").await;
        assert_eq!(
            (ended.status.as_u16(), ended.problem().as_str()),
            (500, "unknown-import-called")
        );
        assert!(!ended.text().contains("acme"), "{}", ended.text());
        let log = host.cli("logs", &["w"]).await;
        let log = String::from_utf8(log.stdout).unwrap();
        assert!(log.contains("acme:vault/doors@1.2.3#find"), "{log}");
    };
    serves(&host).await;
    // A restart links it alike, and so does a rollback.
    host.kill();
    host.boot().await;
    serves(&host).await;
    host.deploy("w", &guest("hello-wasip3").await).await;
    assert!(host.cli("rollback", &["w"]).await.status.success());
    serves(&host).await;
}
