//! The host holds no more after many swaps than after a few. The same in full is `cargo bench
//! --bench swap -- --leak`.

use hms_harness::Host;
use hms_harness::guests::variant;
use hms_harness::marked::Marked;
use hms_harness::rest::{SMALL_POOL, held_at_rest};
use http::Method;

const RELEASES: u32 = 6;
const SWAPS: u32 = 300;

async fn swap(host: &Host, times: u32) {
    for swap in 0..times {
        let path = format!("/windows/marked/rollback?to={}", 1 + swap % RELEASES);
        let answer = host.admin(Method::POST, &path, "").await;
        assert!(answer.status.is_success(), "{}", answer.text());
        assert_eq!(host.get("/marked/now").await.status, 200);
    }
}

#[tokio::test]
async fn many_swaps_leak_no_memory_files_or_mappings() {
    let _alone = super::alone().await;
    let marked = Marked::build().await;
    let host = Host::with_open_windows_and(&[("marked", &marked.release(1))], &SMALL_POOL).await;
    for number in 2..=RELEASES {
        host.deploy("marked", &variant(&marked.release(number), "leak"))
            .await;
    }
    let paths = ["/marked/sleep?ms=500"];
    swap(&host, 50).await;
    let first = held_at_rest(&host, "marked", &paths).await;
    swap(&host, SWAPS).await;
    let last = held_at_rest(&host, "marked", &paths).await;
    let both = format!("{first:?}, then {last:?}");
    assert_eq!(last.files, first.files, "{both}");
    // What is kept of a release is a file, some mappings and about 100 KiB; what the allocator
    // keeps of freed memory goes up and down by up to 20 MiB.
    let swaps = u64::from(SWAPS);
    assert!(
        last.mappings < first.mappings + SWAPS as usize / 4,
        "{both}"
    );
    assert!(
        last.private_dirty_kib < first.private_dirty_kib + swaps * 80,
        "{both}"
    );
}
