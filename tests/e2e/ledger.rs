//! Every event has its effect once, however often the host is killed. The same in full is `cargo
//! bench --bench ledger`.

use hms_harness::ledger::{Plan, run};

async fn agrees(plan: Plan) {
    let report = run(&plan).await;
    assert!(report.differences.is_empty(), "{report}");
}

#[tokio::test]
async fn kills_neither_lose_an_event_nor_double_its_effect() {
    let plan = Plan {
        events: 2_000,
        kills: 5,
        ..Plan::default()
    };
    agrees(plan).await;
}

#[tokio::test]
async fn window_that_often_fails_books_each_event_once_over_kills() {
    let plan = Plan {
        events: 500,
        kills: 2,
        seed: 2,
        faults: true,
        ..Plan::default()
    };
    agrees(plan).await;
}
