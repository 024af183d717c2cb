//! What a window is granted follows its file, and an operator agrees when it grows.

use crate::backup::restore;
use hms_api::{
    Changed, Deployed, FileState, GrantsDetail, GrantsList, Limits, Problem, RemovedGrants,
    ShownLimits,
};
use hms_harness::{Host, eventually, guest};
use hms_windows::Consent;
use http::Method;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const CARD: &str = "outbound:\n  - to: https://api.card.example\n    methods: [POST]\n    paths: \
                    [/v1/charges/**]\n    inject: {authorization: \"Bearer {card-key}\"}\nsecrets: \
                    {card-key: {file: secrets/card-key}}\n";

const VALUE: &str = "sk_live_that_nobody_may_see";

fn write_secret(host: &Host, mode: u32) {
    let folder = host.grants().join("secrets");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("card-key");
    let _ = fs::remove_file(&path);
    fs::write(&path, VALUE).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

async fn shown(host: &Host, window: &str) -> GrantsDetail {
    let path = format!("/windows/{window}/grants");
    host.admin(Method::GET, &path, "").await.read()
}

async fn list(host: &Host) -> GrantsList {
    host.admin(Method::GET, "/grants", "").await.read()
}

async fn queue(host: &Host) -> u64 {
    let limits: ShownLimits = host
        .admin(Method::GET, "/windows/w/limits", "")
        .await
        .read();
    limits.values.limits["queue"]
}

#[tokio::test]
async fn file_is_followed_and_a_bad_edit_keeps_the_last_good_grants_over_a_restart() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("w", &hello)]).await;
    assert!(list(&host).await.grants.is_empty());
    host.write_grants("w", "limits: {queue: 7}\n");
    eventually("the limit is in force", || async {
        (queue(&host).await == 7).then_some(())
    })
    .await;
    host.write_grants("w", "limits: {queue: 9}\n");
    eventually("the edit is in force", || async {
        (queue(&host).await == 9).then_some(())
    })
    .await;
    host.write_grants("w", "limits: {queu: 11}\n");
    let refused = eventually("the bad edit is seen", || async {
        let detail = shown(&host, "w").await.grants;
        (detail.state == FileState::Refused).then_some(detail)
    })
    .await;
    assert_eq!(refused.faults[0].line, 1);
    assert!(refused.faults[0].reason.contains("queue"), "{refused:?}");
    assert_eq!(host.metric("hms_grants_files_refused").await, Some(1));
    assert_eq!(queue(&host).await, 9);

    host.terminate().await;
    host.boot().await;
    assert_eq!(queue(&host).await, 9);
    assert_eq!(shown(&host, "w").await.grants.state, FileState::Refused);
    fs::remove_file(host.grants().join("w.yaml")).unwrap();
    eventually("the file is gone", || async {
        (queue(&host).await == 256).then_some(())
    })
    .await;
}

#[tokio::test]
async fn grants_are_managed_by_the_admin_api_and_the_command_line() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    let path = "/windows/w/grants";
    let missing = host.admin(Method::GET, path, "").await;
    assert_eq!(
        (missing.status.as_u16(), missing.problem().as_str()),
        (404, "no-such-grants")
    );
    let made = host.admin(Method::PUT, path, "calls: [docs]\n").await;
    assert_eq!(made.status, 201, "{}", made.text());
    let granted = made.read::<GrantsDetail>().grants.granted.unwrap();
    assert_eq!(granted.window, "w");
    assert!(granted.sentences[0].contains("may call window docs"));
    let again = host.admin(Method::PUT, path, "calls: [audit]\n").await;
    assert_eq!(again.status, 200);
    assert_eq!(
        shown(&host, "w").await.manifest.as_deref(),
        Some("calls: [audit]\n")
    );
    let refused = host.admin(Method::PUT, path, "cals: [docs]\n").await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (422, "manifest-refused")
    );
    assert_eq!(refused.read::<Problem>().faults[0].line, 1);
    let text = fs::read_to_string(host.grants().join("w.yaml")).unwrap();
    assert_eq!(text, "calls: [audit]\n");

    let output = host.cli("grants", &["w"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("w may call window audit for the user"),
        "{said}"
    );
    let file = host.data().join("next.yaml");
    fs::write(&file, "internal: true\n").unwrap();
    let set = host
        .cli("grants", &["w", "--set", file.to_str().unwrap()])
        .await;
    assert!(set.status.success(), "{set:?}");
    let output = host.cli("grants", &[]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("w is internal"), "{said}");
    let removed = host.cli("grants", &["w", "--remove", "--json"]).await;
    let removed: Changed<RemovedGrants> = serde_json::from_slice(&removed.stdout).unwrap();
    assert_eq!(
        (removed.what.removed.as_str(), removed.durable),
        ("w", true)
    );
    assert!(!host.grants().join("w.yaml").exists());
    assert_eq!(host.admin(Method::DELETE, path, "").await.status, 404);
}

#[tokio::test]
async fn file_of_the_data_folder_is_no_secret_of_a_window() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    let token = host.data().join("admin.token");
    fs::create_dir_all(host.grants()).unwrap();
    std::os::unix::fs::symlink(&token, host.grants().join("link")).unwrap();
    for path in [token.to_str().unwrap(), "link"] {
        let text = format!("secrets:\n  key: {{file: {path}}}\nreveal: [key]\n");
        let refused = host.admin(Method::PUT, "/windows/w/grants?yes=true", text.as_str());
        let refused: Problem = refused.await.read();
        assert_eq!(refused.status, 422, "{refused:?}");
        let fault = &refused.faults[0];
        assert_eq!((fault.line, fault.column), (2, 15), "{refused:?}");
        assert!(fault.reason.contains("is in the data folder"), "{fault}");
        host.write_grants("w", &text);
        eventually("the file is refused", || async {
            let shown = list(&host).await.grants;
            let refused = shown.iter().find(|one| one.state == FileState::Refused);
            refused.map(|one| assert!(one.granted.is_none()))
        })
        .await;
        fs::remove_file(host.grants().join("w.yaml")).unwrap();
        eventually("the file is gone", || async {
            list(&host).await.grants.is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn more_memory_than_the_pool_has_is_said_to_be_in_force_as_less() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    let text = "limits: {memory: 4GiB}\n";
    let put = host.admin(Method::PUT, "/windows/w/grants", text).await;
    let shown: GrantsDetail = put.read();
    let said = shown.grants.granted.unwrap().sentences.join("\n");
    assert!(said.contains("of memory in force, not 4GiB"), "{said}");
    assert!(said.contains("--instance-memory"), "{said}");
    eventually("the log says so", || async {
        let log = host.log();
        let line = log.lines().find(|line| line.contains("it has "))?;
        (line.contains("of memory in force, not 4GiB") && line.contains("w.yaml:1")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn limit_of_the_file_is_shown_with_its_place_and_not_changed_elsewhere() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    let path = "/windows/w/limits";
    host.limit("w", &["--queue", "5"]).await;
    let text = "config: {a: b}\nlimits:\n  queue: 7\n";
    let made = host.admin(Method::PUT, "/windows/w/grants", text).await;
    assert_eq!(made.status, 201);
    // In force when it is answered.
    let limits: ShownLimits = host.admin(Method::GET, path, "").await.read();
    assert_eq!(limits.values.limits["queue"], 7);
    assert_eq!(limits.values.set["queue"], 5);
    eventually("the log names the limits of the file", || async {
        let log = host.log();
        let mut lines = log.lines();
        let line = lines.find(|line| line.contains("limits of the grants file"))?;
        line.contains("queue 7").then_some(())
    })
    .await;
    let place = &limits.values.sources[0].place;
    assert!(place.ends_with("windows/w.yaml:3"), "{place}");
    for body in [r#"{"queue": 9}"#, r#"{"queue": null, "handles": 20}"#] {
        let refused = host.admin(Method::PATCH, path, body).await;
        assert_eq!(
            (refused.status.as_u16(), refused.problem().as_str()),
            (409, "limit-in-grants")
        );
        let why = refused.read::<Problem>().detail;
        assert!(
            why.starts_with("queue: set in ") && why.ends_with("w.yaml:3: change it there"),
            "{why}"
        );
    }
    let other = host.admin(Method::PATCH, path, r#"{"handles": 20}"#).await;
    assert_eq!(other.status, 200);
    assert_eq!(other.read::<Changed<Limits>>().what.limits["queue"], 7);
    let said = host.cli("limits", &["w"]).await;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("w.yaml:3"), "{said}");
    host.admin(Method::DELETE, "/windows/w/grants", "").await;
    assert_eq!(queue(&host).await, 5);
}

#[tokio::test]
async fn first_release_is_deployed_with_a_note_of_what_it_is_not_granted() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    let caller = guest("prober").await;
    let made = host
        .admin(Method::PUT, "/windows/first", caller.clone())
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let notes = made.read::<Deployed>().notes;
    assert!(
        notes.iter().any(|it| it.contains("which is not granted")),
        "{notes:?}"
    );
    let file = host.data().join("second.wasm");
    fs::write(&file, caller).unwrap();
    let shown = host.cli("deploy", &[file.to_str().unwrap()]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("note: imports wasi:http/"), "{shown}");
}

#[tokio::test]
async fn deploy_and_edit_ask_when_what_is_imported_and_granted_grows() {
    let (hello, caller) = (guest("hello-wasip3").await, guest("prober").await);
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    write_secret(&host, 0o600);
    // Nothing that is live imports what this grants.
    let path = "/windows/w/grants";
    let made = host.admin(Method::PUT, path, CARD).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let digest = made.read::<GrantsDetail>().grants.granted.unwrap().digest;

    let asked = host.admin(Method::PUT, "/windows/w", caller.clone()).await;
    assert_eq!(asked.problem(), "needs-consent", "{}", asked.text());
    let asked = asked.read::<Problem>();
    let why = asked.detail;
    assert_eq!(asked.consent, Some(Consent::digest(&why)));
    for part in [
        "release 2 imports wasi:http/",
        "it may now POST https://api.card.example/v1/charges/** with secret card-key (",
        "windows/w.yaml:2)",
        "repeat with --yes",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    // Whoever agrees to these words agrees to no more, which somebody else may grant in between.
    let to_that = format!("/windows/w?yes={}", Consent::digest(&why));
    let more = CARD.replace("[POST]", "[POST, PUT]");
    assert_eq!(host.admin(Method::PUT, path, more).await.status, 200);
    let asked = host.admin(Method::PUT, &to_that, caller.clone()).await;
    assert_eq!(asked.problem(), "needs-consent", "{}", asked.text());
    assert!(asked.text().contains("POST and PUT"), "{}", asked.text());
    assert_eq!(host.admin(Method::PUT, path, CARD).await.status, 200);
    let agreed = host.admin(Method::PUT, &to_that, caller.clone()).await;
    assert_eq!(agreed.status, 200, "{}", agreed.text());
    // The same again is no more.
    let again = host.admin(Method::PUT, "/windows/w", caller).await;
    assert_eq!(again.status, 200, "{}", again.text());

    let moved = format!("# moved\n{CARD}");
    assert_eq!(host.admin(Method::PUT, path, moved).await.status, 200);
    let wider = CARD.replace("[POST]", "[POST, DELETE]");
    let asked = host.admin(Method::PUT, path, wider.clone()).await;
    assert_eq!(
        (asked.status.as_u16(), asked.problem().as_str()),
        (409, "needs-consent")
    );
    assert!(asked.text().contains("POST and DELETE"), "{}", asked.text());
    let file = host.data().join("wider.yaml");
    fs::write(&file, &wider).unwrap();
    let args = ["w", "--set", file.to_str().unwrap()];
    let unasked = host.cli("grants", &args).await;
    assert!(!unasked.status.success());
    assert!(String::from_utf8_lossy(&unasked.stderr).contains("it may now POST and DELETE"));
    let agreed = host.cli("grants", &[&args[..], &["--yes"]].concat()).await;
    assert!(agreed.status.success(), "{agreed:?}");
    // An edit on disk is consent, and is said.
    host.write_grants("w", &format!("{CARD}calls: [docs]\n"));
    eventually("the edit is in the log", || async {
        let log = host.log();
        log.contains("it may now call window docs for the user")
            .then_some(())
    })
    .await;

    let releases = host.window_and_releases("w").await.releases;
    let digests: Vec<_> = releases.iter().map(|r| r.grants.clone()).collect();
    assert_eq!(digests[0], None);
    assert_eq!(digests[1].as_deref(), Some(digest.as_str()));
    let history = host.cli("history", &["w"]).await;
    let history = String::from_utf8_lossy(&history.stdout).into_owned();
    assert!(history.contains(&digest[..12]), "{history}");
}

#[tokio::test]
async fn return_to_a_release_that_can_do_more_is_asked_about() {
    let (hello, caller) = (guest("hello-wasip3").await, guest("prober").await);
    let host = Host::with_open_windows(&[("w", &caller)]).await;
    write_secret(&host, 0o600);
    let deployed = host.admin(Method::PUT, "/windows/w", hello.clone()).await;
    assert_eq!(deployed.status, 200, "{}", deployed.text());
    // Release 2 imports nothing of this.
    let made = host.admin(Method::PUT, "/windows/w/grants", CARD).await;
    assert_eq!(made.status, 201, "{}", made.text());

    let path = "/windows/w/rollback";
    let asked = host.admin(Method::POST, path, "").await;
    assert_eq!(
        (asked.status.as_u16(), asked.problem().as_str()),
        (409, "needs-consent")
    );
    let said = host.cli("rollback", &["w"]).await;
    assert!(!said.status.success());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    for part in [
        "release 1 imports wasi:http/",
        "with secret card-key",
        "--yes",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(host.window("w").await.live.unwrap().number, 2);
    let agreed = host.cli("rollback", &["w", "--yes"]).await;
    assert!(agreed.status.success(), "{agreed:?}");
    // The way forward takes something away.
    let forward = host.admin(Method::POST, &format!("{path}?to=2"), "").await;
    assert_eq!(forward.status, 200, "{}", forward.text());
    let back = format!("{path}?to=1&yes=true");
    let again = host.admin(Method::POST, &back, "").await;
    assert_eq!(again.status, 200, "{}", again.text());

    // A release that falls back to one that can do more: the edit asks about that one.
    host.admin(Method::DELETE, "/windows/w/grants", "").await;
    let falls_back = "/windows/w?fallback=true";
    let deployed = host.admin(Method::PUT, falls_back, hello).await;
    assert_eq!(deployed.status, 200, "{}", deployed.text());
    let asked = host.admin(Method::PUT, "/windows/w/grants", CARD).await;
    assert_eq!(asked.problem(), "needs-consent", "{}", asked.text());
    assert!(
        asked.text().contains("release 1 imports"),
        "{}",
        asked.text()
    );
}

#[tokio::test]
async fn import_without_a_grant_is_a_note() {
    let (hello, caller) = (guest("hello-wasip3").await, guest("prober").await);
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    let deployed = host
        .admin(Method::PUT, "/windows/w?yes=true", caller)
        .await
        .read::<hms_api::Deployed>();
    let notes = deployed.difference.unwrap().notes;
    let refused = |note: &String| {
        note.contains("imports wasi:http/") && note.ends_with("its calls are refused")
    };
    assert!(notes.iter().any(refused), "{notes:?}");
}

#[tokio::test]
async fn value_of_a_secret_is_in_no_answer_and_no_log() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("w", &hello)]).await;
    write_secret(&host, 0o600);
    host.write_grants("w", &format!("{CARD}reveal: [card-key]\n"));
    eventually("the grants are in force", || async {
        (!list(&host).await.grants.is_empty()).then_some(())
    })
    .await;
    // Looser than it may be: its last value stays, and the reason is shown.
    write_secret(&host, 0o644);
    host.signal("HUP");
    eventually("the fault is shown", || async {
        let granted = shown(&host, "w").await.grants.granted.unwrap();
        let fault = granted.secrets[0].fault.clone();
        fault.filter(|fault| fault.contains("chmod 600"))
    })
    .await;
    assert_eq!(host.metric("hms_secrets_unreadable").await, Some(1));
    let mut said = String::new();
    for verb in ["grants", "windows", "routes"] {
        let output = host.cli(verb, &["--json"]).await;
        said.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    for verb in ["grants", "history", "logs", "limits"] {
        for args in [&["w"][..], &["w", "--json"]] {
            let output = host.cli(verb, args).await;
            said.push_str(&String::from_utf8_lossy(&output.stdout));
            said.push_str(&String::from_utf8_lossy(&output.stderr));
        }
    }
    said.push_str(&host.admin(Method::GET, "/metrics", "").await.text());
    said.push_str(&host.admin(Method::GET, "/backup", "").await.text());
    said.push_str(&host.whole_log().await);
    host.terminate().await;
    said.push_str(&fs::read_to_string(host.data().join("grants.json")).unwrap());
    assert!(said.contains("card-key") && said.contains("grants/w.yaml"));
    assert!(!said.contains(VALUE));
}

#[tokio::test]
async fn backup_brings_grants_back_and_no_value_of_a_secret() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    write_secret(&host, 0o600);
    let text = format!("{CARD}limits: {{queue: 7}}\n");
    let made = host
        .admin(Method::PUT, "/windows/w/grants", text.clone())
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let taken = host.cli("backup", &[backup.to_str().unwrap()]).await;
    assert!(taken.status.success(), "{taken:?}");
    assert_eq!(
        fs::read_to_string(backup.join("grants/w.yaml")).unwrap(),
        text
    );
    assert!(!backup.join("grants/secrets").exists());

    let place = tempfile::tempdir().unwrap();
    let grants = place.path().join("windows");
    let restored = restore(
        &backup,
        place.path(),
        &["--grants", grants.to_str().unwrap()],
    );
    assert!(restored.status.success(), "{restored:?}");
    let said = String::from_utf8_lossy(&restored.stdout).into_owned();
    assert!(said.contains("--grants"), "{said}");
    let restored = Host::in_folder(place).await;
    assert_eq!(queue(&restored).await, 7);
    let granted = shown(&restored, "w").await.grants.granted.unwrap();
    assert!(granted.secrets[0].fault.is_some(), "{granted:?}");
}

#[tokio::test]
async fn window_without_a_file_is_said_to_be_granted_nothing() {
    let host = Host::with_open_windows(&[]).await;
    let said = host.cli("grants", &["nobody"]).await;
    assert!(said.status.success(), "{said:?}");
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(
        text,
        "nobody is granted nothing: it has no file of grants\n"
    );
    let said = host.cli("grants", &["nobody", "--json"]).await;
    assert!(said.status.success(), "{said:?}");
    let value: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert!(value["grants"].is_null(), "{value}");
}

#[tokio::test]
async fn secret_that_others_may_read_is_named_by_the_next_edit_of_the_same_text() {
    let host = Host::with_open_windows(&[]).await;
    let file = host.data().join("w.yaml");
    fs::write(&file, CARD).unwrap();
    let set = async || {
        let args = ["w", "--set", file.to_str().unwrap()];
        let said = host.cli("grants", &args).await;
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap()
    };
    write_secret(&host, 0o600);
    let fine = set().await;
    assert!(!fine.contains("cannot be read"), "{fine}");
    write_secret(&host, 0o644);
    let named = set().await;
    assert!(
        named.contains("w: secret card-key cannot be read"),
        "{named}"
    );
}
