//! The state of deliveries in a backup.

use super::{LIST, NOWHERE, emit, got, host, said, status, subscribe, subscription};
use crate::backup::{restore, text, verify};
use hms_harness::Host;

#[tokio::test]
async fn restored_host_goes_on_with_what_was_parked_paused_and_not_delivered_yet() {
    let host = host(&subscription(NOWHERE)).await;
    emit(&host, "a.v1", "one", "parked;").await;
    status(&host, |status| status.parked == 1).await;
    subscribe(&host, &subscription(LIST), 1).await;
    emit(&host, "a.v1", "one", "done;").await;
    got(&host, &["done;"]).await;
    status(&host, |status| status.lag == 0).await;
    said(&host, "subscriptions", &["inbox/all", "pause"]).await;
    emit(&host, "a.v1", "one", "waiting;").await;

    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    let taken = host.cli("backup", &[backup.to_str().unwrap()]).await;
    assert!(taken.status.success(), "{}", text(&taken));
    let verified = verify(&backup);
    assert!(verified.status.success(), "{}", text(&verified));
    let grants = place.path().join("windows");
    let args = ["--grants", grants.to_str().unwrap()];
    let restored = restore(&backup, place.path(), &args);
    assert!(restored.status.success(), "{}", text(&restored));

    let host = Host::in_folder(place).await;
    let is_whole = |status: &hms_api::SubscriptionStatus| {
        status.paused.is_some() && status.parked == 1 && status.lag == 1
    };
    status(&host, is_whole).await;
    said(&host, "subscriptions", &["inbox/all", "resume"]).await;
    said(&host, "parked", &["retry", "inbox/all"]).await;
    let list = got(&host, &["parked;", "waiting;"]).await;
    assert_eq!(list.matches("done;").count(), 1, "{list}");
}
