//! Components that know nothing of us are windows too, in both generations of WASI HTTP.

use super::harness::{Host, guest};

#[tokio::test]
async fn a_wstd_0_2_and_a_wasip3_0_3_hello_are_deployed_and_answer() {
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
