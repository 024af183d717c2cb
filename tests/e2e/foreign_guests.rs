//! Components that know nothing of us are windows too, in both generations of WASI HTTP.

use hms_harness::{Host, guest};

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
    // What was set, whether it is there after delete, the counter, how many of two were found, the keys over all pages
    // (1,500 and the counter), and those after the first 1,400 once two are deleted.
    assert_eq!(
        host.get("/w").await.text(),
        "Some([49]) false 2 1 1501 99\n"
    );
    assert_eq!(
        host.get("/w").await.text(),
        "Some([49]) false 4 1 1501 99\n"
    );
}
