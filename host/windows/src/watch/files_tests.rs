use super::*;

const NOBODY: &dyn Fn(&OsStr) -> bool = &|_| false;

fn found(files: &[(&str, u64)]) -> FolderScan {
    let stamp = |inode| FileStamp::fake(100, inode);
    let files = files.iter();
    FolderScan {
        files: files
            .map(|(file, inode)| (file.into(), stamp(*inode)))
            .collect(),
        ..FolderScan::default()
    }
}

fn names(due: &[Due]) -> Vec<&str> {
    due.iter().map(|due| due.window.as_str()).collect()
}

/// A folder in which `a.wasm` is settled and due.
fn one_due() -> (Files, Due, Instant) {
    let (mut files, start) = (Files::default(), Instant::now());
    assert_eq!(files.look(found(&[("a.wasm", 1)]), NOBODY, start), []);
    let settled = start + SETTLE;
    let due = files.look(found(&[("a.wasm", 1)]), NOBODY, settled);
    assert_eq!(names(&due), ["a"]);
    (files, due[0].clone(), settled)
}

#[test]
fn file_is_due_once_it_has_been_unchanged_for_long_enough() {
    let (mut files, start) = (Files::default(), Instant::now());
    for step in 0..10 {
        let now = start + SETTLE / 2 * step;
        let changing = found(&[("a.wasm", u64::from(step))]);
        assert_eq!(files.look(changing, NOBODY, now), []);
        assert_eq!(files.next_due(now), SETTLE);
    }
    let last = start + SETTLE / 2 * 9;
    assert_eq!(
        files.look(found(&[("a.wasm", 9)]), NOBODY, last + SETTLE / 2),
        []
    );
    assert_eq!(
        names(&files.look(found(&[("a.wasm", 9)]), NOBODY, last + SETTLE)),
        ["a"]
    );
}

#[test]
fn file_being_written_waits_however_long_its_writer_pauses() {
    let (mut files, start) = (Files::default(), Instant::now());
    for seconds in 0..100 {
        let now = start + Duration::from_secs(seconds);
        assert_eq!(
            files.look(found(&[("a.wasm", 1)]), &|file| file == "a.wasm", now),
            []
        );
    }
    let now = start + Duration::from_secs(100);
    assert_eq!(
        names(&files.look(found(&[("a.wasm", 1)]), NOBODY, now)),
        ["a"]
    );
}

#[test]
fn refused_file_is_retried_only_when_it_changes() {
    let (mut files, due, now) = one_due();
    files.done(&due, DeployOutcome::Refused("truncated".into()), now);
    assert_eq!(files.refused(), 1);
    let later = now + AGAIN * 10;
    assert_eq!(files.look(found(&[("a.wasm", 1)]), NOBODY, later), []);
    assert_eq!(files.look(found(&[("a.wasm", 2)]), NOBODY, later), []);
    let due = files.look(found(&[("a.wasm", 2)]), NOBODY, later + SETTLE);
    assert_eq!(names(&due), ["a"]);
    files.done(&due[0], DeployOutcome::Done, later + SETTLE);
    assert_eq!(files.refused(), 0);
}

#[test]
fn temporarily_failed_file_is_retried() {
    let (mut files, due, now) = one_due();
    files.done(&due, DeployOutcome::Later("the disk is full".into()), now);
    assert_eq!((files.refused(), files.next_due(now)), (1, AGAIN));
    assert_eq!(
        files.look(found(&[("a.wasm", 1)]), NOBODY, now + AGAIN / 2),
        []
    );
    assert_eq!(
        names(&files.look(found(&[("a.wasm", 1)]), NOBODY, now + AGAIN)),
        ["a"]
    );
}

#[test]
fn file_that_changes_during_its_deploy_is_never_deployed_twice_at_once() {
    for between in [&[("a.wasm", 2)][..], &[]] {
        let (mut files, due, now) = one_due();
        files.look(found(between), NOBODY, now);
        let later = now + SETTLE;
        assert_eq!(files.look(found(&[("a.wasm", 2)]), NOBODY, later), []);
        assert_eq!(
            files.look(found(&[("a.wasm", 2)]), NOBODY, later + SETTLE),
            []
        );
        // What came of the old file says nothing of the new one.
        files.done(&due, DeployOutcome::Refused("truncated".into()), later);
        assert_eq!(files.refused(), 0);
        let due = files.look(found(&[("a.wasm", 2)]), NOBODY, later + SETTLE);
        assert_eq!(
            (names(&due), due[0].stamp),
            (vec!["a"], FileStamp::fake(100, 2))
        );
    }
}

#[test]
fn slow_deploy_delays_no_other_file() {
    let (mut files, _, now) = one_due();
    let both = found(&[("a.wasm", 1), ("b.wasm", 1)]);
    assert_eq!(files.look(both.clone(), NOBODY, now), []);
    assert_eq!(names(&files.look(both, NOBODY, now + SETTLE)), ["b"]);
}

#[test]
fn concurrent_deploys_are_bounded() {
    let (mut files, start) = (Files::default(), Instant::now());
    let all: Vec<String> = (0..10).map(|n| format!("w{n}.wasm")).collect();
    let all: Vec<(&str, u64)> = all.iter().map(|name| (name.as_str(), 1)).collect();
    files.look(found(&all), NOBODY, start);
    let (mut at_work, mut seen) = (Vec::new(), 0);
    while seen < 10 {
        at_work.extend(files.look(found(&all), NOBODY, start + SETTLE));
        assert!((1..=MAX_AT_WORK).contains(&at_work.len()));
        files.done(&at_work.remove(0), DeployOutcome::Done, start + SETTLE);
        seen += 1;
    }
    assert!(files.caught_up());
}

#[test]
fn empty_file_is_given_more_time() {
    let (mut files, start) = (Files::default(), Instant::now());
    let empty = || FolderScan {
        files: BTreeMap::from([("a.wasm".into(), FileStamp::fake(0, 1))]),
        ..FolderScan::default()
    };
    assert_eq!(files.look(empty(), NOBODY, start), []);
    assert_eq!(files.look(empty(), NOBODY, start + SETTLE * 2), []);
    assert_eq!(
        names(&files.look(empty(), NOBODY, start + SETTLE_EMPTY)),
        ["a"]
    );
}

#[test]
fn invalid_and_duplicate_names_are_refused() {
    let (mut files, start) = (Files::default(), Instant::now());
    let all = found(&[
        ("Bad Name.wasm", 1),
        ("my-window.wasm", 1),
        ("my_window.wasm", 1),
    ]);
    files.look(all.clone(), NOBODY, start);
    assert_eq!(
        names(&files.look(all, NOBODY, start + SETTLE)),
        ["my-window"]
    );
    assert_eq!(files.refused(), 2);
    files.look(found(&[]), NOBODY, start + SETTLE);
    assert_eq!(files.refused(), 0);
    let mut odd = found(&[]);
    odd.refused
        .insert("link.wasm".into(), "it leads nowhere".into());
    files.look(odd, NOBODY, start + SETTLE);
    assert_eq!(files.refused(), 1);
}

#[test]
fn watch_has_caught_up_once_the_initial_files_were_tried() {
    let (mut files, start) = (Files::default(), Instant::now());
    assert!(!files.caught_up());
    let both = found(&[("a.wasm", 1), ("b.wasm", 1)]);
    files.look(both.clone(), NOBODY, start);
    let due = files.look(both.clone(), NOBODY, start + SETTLE);
    assert!(due.iter().all(|due| due.at_start) && !files.caught_up());
    files.done(&due[0], DeployOutcome::Done, start + SETTLE);
    assert!(!files.caught_up());
    files.done(
        &due[1],
        DeployOutcome::Refused("why".into()),
        start + SETTLE,
    );
    assert!(files.caught_up());
    files.look(found(&[("a.wasm", 2), ("b.wasm", 1)]), NOBODY, start);
    assert!(files.caught_up());
}
