use super::look::Looked;
use super::*;
use hms_manifest::conformance::{self, Samples};
use parking_lot::Mutex;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;

const CARD: &str = "secrets: {card-key: {file: card-key}}\nreveal: [card-key]\n";

fn folder(path: &Path) -> (GrantsFolder, Arc<AllGrants>) {
    let all = Arc::<AllGrants>::default();
    let metrics = GrantsMetrics::default();
    let folder = GrantsFolder::load(NamedFiles::of(path), None, all.clone(), metrics);
    (folder, all)
}

fn write_secret(path: &Path, value: &str, mode: u32) {
    let _ = fs::remove_file(path);
    fs::write(path, value).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn card_key(all: &AllGrants) -> Option<Vec<u8>> {
    let live = all.window("payments").current();
    live.revealed("card-key")
        .map(|secret| secret.expose().to_vec())
}

#[test]
fn grants_file_conforms() {
    conformance::run::<GrantsFile>(&Samples {
        good: ["internal: true\n", "config: {currency: EUR}\n"],
        bad: "internal: true\ncnofig: {}\n",
        place: (2, 1),
    });
}

#[test]
fn file_grants_what_it_says_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, all) = folder(dir.path());
    let payments = all.window("payments");
    assert!(payments.load().digest.is_none());
    folder.files().put("payments", "calls: [docs]\n").unwrap();
    assert!(payments.load().grants.call("docs").is_some());
    assert_eq!(payments.load().digest.as_ref().map(String::len), Some(64));
    folder.files().put("payments", "calls: [audit]\n").unwrap();
    assert!(payments.load().grants.call("docs").is_none());
    folder.files().remove("payments").unwrap();
    assert_eq!(payments.load().grants, crate::Grants::default());
}

#[test]
fn two_files_of_one_window_are_refused_but_the_first() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("payments.yaml"), "calls: [docs]\n").unwrap();
    fs::write(dir.path().join("payments.yml"), "calls: [audit]\n").unwrap();
    let (folder, all) = folder(dir.path());
    assert!(all.window("payments").load().grants.call("docs").is_some());
    let status = folder.files().status();
    assert!(
        status[1].faults[0]
            .reason
            .contains("claimed by payments.yaml")
    );
}

#[tokio::test]
async fn reload_says_what_became_of_files_and_secrets() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("payments.yaml"), CARD).unwrap();
    let (folder, all) = folder(dir.path());
    let [files, secrets] = folder.read_again().await;
    assert_eq!(files.outcome, Ok("1 live".into()));
    let why = secrets.outcome.unwrap_err();
    assert!(why.starts_with("1 of 1 cannot be read"), "{why}");
    write_secret(&dir.path().join("card-key"), "one", 0o600);
    let [_, secrets] = folder.read_again().await;
    assert_eq!(secrets.outcome, Ok("1 read".into()));
    assert_eq!(card_key(&all).as_deref(), Some(&b"one"[..]));
    let line = all.window("payments").load().at(2);
    assert!(line.ends_with("payments.yaml:2"), "{line}");
}

#[test]
fn missing_folder_is_empty_and_made_by_the_first_edit() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, all) = folder(&dir.path().join("windows"));
    assert_eq!(folder.files().folder_fault(), None);
    assert!(folder.files().was_read());
    folder.files().put("payments", "internal: true\n").unwrap();
    assert!(all.window("payments").load().grants.internal);
}

#[test]
fn changed_secret_is_live_and_one_that_became_unreadable_keeps_its_value() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("card-key");
    write_secret(&key, "one", 0o600);
    fs::write(dir.path().join("payments.yaml"), CARD).unwrap();
    let (folder, all) = folder(dir.path());
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    folder.on_change(Box::new(move |window, _, _| {
        assert_eq!(window, "payments");
        count.fetch_add(1, Relaxed);
    }));
    assert_eq!(card_key(&all).as_deref(), Some(&b"one"[..]));
    folder.reload_secrets();
    assert_eq!(told.load(Relaxed), 0);
    write_secret(&key, "two", 0o600);
    folder.reload_secrets();
    assert_eq!(card_key(&all).as_deref(), Some(&b"two"[..]));
    assert_eq!(told.load(Relaxed), 1);
    write_secret(&key, "three", 0o644);
    folder.reload_secrets();
    assert_eq!(card_key(&all).as_deref(), Some(&b"two"[..]));
    let kept = all.window("payments").current();
    assert!(kept.secret_faults["card-key"].contains("chmod 600"));
    folder.reload_secrets();
    let again = all.window("payments").current();
    assert!(Arc::ptr_eq(&kept, &again), "nothing is new");
}

#[test]
fn file_removed_while_secrets_are_read_grants_nothing_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("card-key");
    write_secret(&key, "one", 0o600);
    for window in ["audit", "payments"] {
        fs::write(dir.path().join(format!("{window}.yaml")), CARD).unwrap();
    }
    let (folder, all) = folder(dir.path());
    let files = folder.files().clone();
    let removal = Arc::new(Mutex::new(None));
    let begun = removal.clone();
    // While the change of the first window is told, the file of the second is removed.
    folder.on_change(Box::new(move |window, _, _| {
        if window == "audit" && begun.lock().is_none() {
            let (files, (done, is_done)) = (files.clone(), mpsc::channel());
            *begun.lock() = Some(thread::spawn(move || {
                files.remove("payments").unwrap();
                let _ = done.send(());
            }));
            // It may have to wait until all are told.
            let _ = is_done.recv_timeout(Duration::from_millis(300));
        }
    }));
    write_secret(&key, "two", 0o600);
    folder.reload_secrets();
    let removal = removal.lock().take().unwrap();
    removal.join().unwrap();
    assert_eq!(card_key(&all), None);
    assert_eq!(
        all.window("payments").load().grants,
        crate::Grants::default()
    );
}

#[test]
fn grants_are_revoked_though_the_disk_of_the_secrets_hangs() {
    static HANGS: AtomicBool = AtomicBool::new(false);
    static HUNG: AtomicBool = AtomicBool::new(false);
    fn hanging(file: &GrantsFile, named: &NamedFiles) -> Looked {
        while HANGS.load(Relaxed) {
            HUNG.store(true, Relaxed);
            thread::sleep(Duration::from_millis(1));
        }
        look(file, named)
    }
    let dir = tempfile::tempdir().unwrap();
    write_secret(&dir.path().join("card-key"), "one", 0o600);
    for window in ["audit", "payments"] {
        fs::write(dir.path().join(format!("{window}.yaml")), CARD).unwrap();
    }
    let all = Arc::<AllGrants>::default();
    let metrics = GrantsMetrics::default();
    let folder = GrantsFolder::load_by(
        hanging,
        NamedFiles::of(dir.path()),
        None,
        all.clone(),
        metrics,
    );
    assert!(card_key(&all).is_some());
    HANGS.store(true, Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| folder.reload_secrets());
        while !HUNG.load(Relaxed) {
            thread::yield_now();
        }
        folder.files().remove("payments").unwrap();
        assert_eq!(card_key(&all), None);
        // An edit is in force without what was not read, and keeps what was read before.
        let more = format!("calls: [docs]\n{CARD}");
        folder.files().put("audit", &more).unwrap();
        let audit = all.window("audit").current();
        assert!(audit.grants.call("docs").is_some() && audit.revealed("card-key").is_some());
        assert!(audit.secret_faults["card-key"].contains("does not answer"));
        HANGS.store(false, Relaxed);
    });
    assert_eq!(card_key(&all), None);
    folder.reload_secrets();
    assert!(all.window("audit").current().secret_faults.is_empty());
}

#[test]
fn replaced_certificate_files_have_the_grants_stored_anew() {
    let dir = tempfile::tempdir().unwrap();
    let pem = ["ca.pem", "cert.pem", "key.pem"].map(|name| dir.path().join(name));
    for path in &pem {
        write_secret(path, "one", 0o600);
    }
    let text = "outbound:\n  - to: https://a.example\n    ca: ca.pem\n    \
                client-cert: {cert: cert.pem, key: key.pem}\n";
    fs::write(dir.path().join("payments.yaml"), text).unwrap();
    let (folder, all) = folder(dir.path());
    let now = || all.window("payments").current();
    let mut last = now();
    folder.reload_secrets();
    assert!(Arc::ptr_eq(&last, &now()));
    for path in &pem {
        fs::remove_file(path).unwrap();
        folder.reload_secrets();
        assert!(Arc::ptr_eq(&last, &now()), "{path:?} is away for a moment");
        write_secret(path, "three", 0o600);
        folder.reload_secrets();
        assert!(!Arc::ptr_eq(&last, &now()), "{path:?}");
        last = now();
        folder.reload_secrets();
        assert!(Arc::ptr_eq(&last, &now()));
    }
    assert_eq!(folder.applied.folders(), [dir.path().to_owned()].into());
}

#[test]
fn file_that_is_away_hides_no_change_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let pem = ["a.pem", "b.pem"].map(|name| dir.path().join(name));
    for path in &pem {
        write_secret(path, "one", 0o600);
    }
    let text = "outbound:\n  - {to: https://a.example, ca: a.pem}\n  \
                - {to: https://b.example, ca: b.pem}\n";
    fs::write(dir.path().join("payments.yaml"), text).unwrap();
    let (folder, all) = folder(dir.path());
    let now = || all.window("payments").current();
    let first = now();
    fs::remove_file(&pem[0]).unwrap();
    write_secret(&pem[1], "three", 0o600);
    folder.reload_secrets();
    let second = now();
    assert!(!Arc::ptr_eq(&first, &second));
    // The same file again says nothing new.
    folder.reload_secrets();
    assert!(Arc::ptr_eq(&second, &now()));
}

#[test]
fn file_that_names_one_of_the_data_folder_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let [grants, data] = ["windows", "data"].map(|name| dir.path().join(name));
    for folder in [&grants, &data] {
        fs::create_dir(folder).unwrap();
    }
    write_secret(&data.join("admin.token"), "t0ken", 0o600);
    std::os::unix::fs::symlink(data.join("admin.token"), grants.join("link")).unwrap();
    fs::write(grants.join("docs.yaml"), "secrets: {key: {file: link}}\n").unwrap();
    let all = Arc::<AllGrants>::default();
    let named = NamedFiles::of(&grants).outside_of(&data);
    let folder = GrantsFolder::load(named, None, all.clone(), GrantsMetrics::default());
    let status = folder.files().status();
    let fault = &status[0].faults[0];
    assert_eq!((fault.line, fault.column), (1, 23));
    assert!(
        fault.reason.contains("is in the data folder"),
        "{}",
        fault.reason
    );
    // The file is as it was, and what it names is elsewhere.
    fs::remove_file(grants.join("link")).unwrap();
    write_secret(&grants.join("docs-key"), "s3cret", 0o600);
    std::os::unix::fs::symlink("docs-key", grants.join("link")).unwrap();
    folder.files().reload();
    assert!(folder.files().status()[0].faults.is_empty());
    assert!(all.window("docs").current().secrets.contains_key("key"));
    folder.files().put("payments", "calls: [docs]\n").unwrap();
    for (text, place) in [
        (
            "secrets:\n  card-key: {file: ../data/admin.token}\nreveal: [card-key]\n",
            (2, 20),
        ),
        (
            "outbound:\n  - to: https://a.example\n    ca: ../data/host.redb\n",
            (3, 9),
        ),
        (
            "outbound:\n  - to: https://a.example\n    client-cert:\n      cert: c.pem\n      \
             key: ../data/dev-secret\n",
            (5, 12),
        ),
    ] {
        let refused = folder.files().put("payments", text);
        let Err(hms_manifest::EditError::Refused(faults)) = refused else {
            panic!("{text}");
        };
        assert_eq!((faults[0].line, faults[0].column), place, "{text}");
    }
    assert!(all.window("payments").load().grants.call("docs").is_some());
    // A link that is made when the file has been read.
    write_secret(&grants.join("card-key"), "one", 0o600);
    folder.files().put("payments", CARD).unwrap();
    fs::remove_file(grants.join("card-key")).unwrap();
    std::os::unix::fs::symlink(data.join("admin.token"), grants.join("card-key")).unwrap();
    folder.reload_secrets();
    assert_eq!(card_key(&all).as_deref(), Some(&b"one"[..]));
    let faults = all.window("payments").current().secret_faults.clone();
    assert!(faults["card-key"].contains("is in the data folder"));
}

#[test]
fn file_beside_the_folder_names_files_relative_to_itself_and_none_of_the_data_folder() {
    let dir = tempfile::tempdir().unwrap();
    let [grants, beside, data] =
        ["windows", "fees/windows", "fees/data"].map(|it| dir.path().join(it));
    for folder in [&grants, &beside, &data] {
        fs::create_dir_all(folder).unwrap();
    }
    write_secret(&data.join("admin.token"), "t0ken", 0o600);
    write_secret(&beside.join("key"), "s3cret", 0o600);
    let file = |name: &str, secret: &str| {
        let text = format!("secrets: {{key: {{file: {secret}}}}}\n");
        fs::write(beside.join(name), text).unwrap();
    };
    file("fees.yaml", "key");
    file("docs.yaml", "../data/admin.token");
    let all = Arc::<AllGrants>::default();
    let named = NamedFiles::of(&grants).outside_of(&data);
    let folder = GrantsFolder::load(named, None, all.clone(), GrantsMetrics::default());
    folder.files().follow_also(vec![beside.clone()]);
    assert!(all.window("fees").current().secrets.contains_key("key"));
    let status = folder.files().status();
    let docs = status
        .iter()
        .find(|it| it.file.ends_with("docs.yaml"))
        .unwrap();
    assert!(
        docs.faults[0].reason.contains("is in the data folder"),
        "{:?}",
        docs.faults
    );
    assert!(docs.live.is_none());
    // By a change of it as well; what is there in the folder itself would be another file.
    let put = |secret: &str| {
        let text = format!("secrets: {{key: {{file: {secret}}}}}\n");
        folder.files().put("fees", &text)
    };
    assert!(put("../data/admin.token").is_err());
    assert!(put("../fees/data/admin.token").is_ok());
    let text = "outbound: [{to: 'https://a.example', ca: ca.pem}]\n";
    folder.files().put("fees", text).unwrap();
    let read = folder.files().parse("fees", text).unwrap();
    let would_be = folder.would_be("fees", &read).grants;
    assert_eq!(would_be, all.window("fees").current().grants);
}
