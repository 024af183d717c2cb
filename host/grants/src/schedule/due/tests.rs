use super::*;
use crate::schedule::Overlap;
use jiff::Timestamp;
use proptest::prelude::*;
use std::time::Duration;

fn schedule(cron: &str, missed: Missed) -> Schedule {
    Schedule {
        name: "nightly".into(),
        cron: cron.into(),
        time_zone: "Europe/Berlin".into(),
        to: "/jobs/nightly".into(),
        missed,
        within: Duration::from_secs(3600),
        overlap: Overlap::Skip,
        jitter: Duration::ZERO,
        line: 1,
    }
}

fn ms(text: &str) -> u64 {
    let at: Timestamp = text.parse().unwrap();
    u64::try_from(at.as_millisecond()).unwrap()
}

fn names(due: &Due) -> Vec<&str> {
    due.run.iter().map(|run| run.name.as_str()).collect()
}

const MINUTE: u64 = 60_000;

#[test]
fn occurrence_is_run_once_at_its_time() {
    let nightly = schedule("0 2 * * *", Missed::Skip);
    let declared = ms("2026-06-01T12:00:00Z");
    let before = nightly.due("payments", declared, ms("2026-06-01T23:59:59.999Z"));
    let two = ms("2026-06-02T00:00:00Z");
    assert_eq!((before.run.len(), before.skipped), (0, 0));
    assert_eq!((before.last_ms, before.next_ms), (declared, Some(two)));
    let due = nightly.due("payments", before.last_ms, two + 900);
    assert_eq!(names(&due), ["nightly@2026-06-02T02:00:00+02:00"]);
    assert_eq!((due.skipped, due.last_ms), (0, two));
    assert_eq!(due.next_ms, Some(two + 24 * 60 * MINUTE));
    let again = nightly.due("payments", due.last_ms, two + 1_900);
    assert_eq!((again.run.len(), again.next_ms), (0, due.next_ms));
}

#[test]
fn outage_of_three_hours_is_made_up_for_as_the_file_says() {
    let last = ms("2026-06-02T09:00:00Z");
    let now = ms("2026-06-02T12:10:00Z");
    let due = |missed, within: u64| {
        let mut hourly = schedule("0 * * * *", missed);
        hourly.within = Duration::from_secs(within * 60);
        hourly.due("payments", last, now)
    };
    let noon = "nightly@2026-06-02T14:00:00+02:00";
    let last_only = due(Missed::Last, 60);
    assert_eq!((names(&last_only), last_only.skipped), (vec![noon], 2));
    let too_late = due(Missed::Last, 5);
    assert_eq!((too_late.run.len(), too_late.skipped), (0, 3));
    let all = due(Missed::All, 180);
    assert_eq!((all.run.len(), all.skipped), (3, 0));
    assert_eq!(names(&all)[0], "nightly@2026-06-02T12:00:00+02:00");
    let some = due(Missed::All, 100);
    assert_eq!((some.run.len(), some.skipped), (2, 1));
    let none = due(Missed::Skip, 180);
    assert_eq!((none.run.len(), none.skipped), (0, 3));
    for due in [last_only, too_late, all, some, none] {
        assert_eq!(due.last_ms, ms("2026-06-02T12:00:00Z"));
        assert_eq!(due.next_ms, Some(ms("2026-06-02T13:00:00Z")));
    }
}

#[test]
fn punctual_run_takes_place_though_others_were_missed() {
    let last = ms("2026-06-02T09:00:00Z");
    let now = ms("2026-06-02T12:00:01Z");
    let run = |missed| {
        let due = schedule("0 * * * *", missed).due("payments", last, now);
        (due.run.len(), due.skipped)
    };
    assert_eq!(run(Missed::Skip), (1, 2));
    assert_eq!(run(Missed::Last), (1, 2));
    // 11:00 is one second too old.
    assert_eq!(run(Missed::All), (1, 2));
}

#[test]
fn both_changes_of_summer_time_run_once() {
    let nightly = schedule("30 2 * * *", Missed::Last);
    for (from, name) in [
        ("2026-03-28T12:00:00Z", "nightly@2026-03-29T03:00:00+02:00"),
        ("2026-10-24T12:00:00Z", "nightly@2026-10-25T02:30:00+02:00"),
    ] {
        let (mut last, start) = (ms(from), ms(from));
        let mut run = Vec::new();
        // A look each minute for a day.
        for minute in 0..24 * 60 {
            let due = nightly.due("payments", last, start + minute * MINUTE + 500);
            last = due.last_ms;
            run.extend(due.run);
        }
        let names: Vec<&str> = run.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, [name]);
    }
}

#[test]
fn outage_over_the_change_runs_every_time_of_an_expression_for_every_hour() {
    let hourly = schedule("30 * * * *", Missed::All);
    let hourly = Schedule {
        within: Duration::from_secs(6 * 3600),
        ..hourly
    };
    let due = hourly.due("w", ms("2026-10-24T23:30:00Z"), ms("2026-10-25T03:00:00Z"));
    assert_eq!(
        names(&due),
        [
            "nightly@2026-10-25T02:30:00+02:00",
            "nightly@2026-10-25T02:30:00+01:00",
            "nightly@2026-10-25T03:30:00+01:00"
        ]
    );
}

#[test]
fn expression_that_never_comes_runs_nothing() {
    let never = schedule("0 0 31 2 *", Missed::All);
    let due = never.due("payments", 7, ms("2026-06-02T12:00:00Z"));
    let nothing = Due {
        last_ms: 7,
        ..Due::default()
    };
    assert_eq!(due, nothing);
    assert_eq!(never.next_after(0), None);
}

#[test]
fn long_outage_is_bounded_and_all_of_it_is_run_in_the_end() {
    let mut minutely = schedule("* * * * *", Missed::All);
    minutely.within = Duration::from_secs(30 * 24 * 3600);
    let now = ms("2026-06-02T12:00:30Z");
    let mut last = now - 2_500 * MINUTE;
    let mut run = Vec::new();
    for expected in [MAX_RUNS, MAX_RUNS, 500] {
        let due = minutely.due("w", last, now);
        assert_eq!((due.run.len(), due.skipped), (expected, 0));
        assert_eq!(due.next_ms == Some(now), expected == MAX_RUNS);
        last = due.last_ms;
        run.extend(due.run.into_iter().map(|run| run.at_ms));
    }
    assert!(run.windows(2).all(|pair| pair[1] == pair[0] + MINUTE));
    // A year: counted up to a bound, and quickly.
    let skip = schedule("* * * * *", Missed::Skip);
    let due = skip.due("w", now - 365 * 24 * 60 * MINUTE, now);
    assert_eq!((due.run.len(), due.skipped), (1, MAX_COUNTED));
}

#[test]
fn delay_is_within_jitter_and_differs_by_window_and_name() {
    let mut nightly = schedule("0 2 * * *", Missed::Last);
    assert_eq!(nightly.delay_ms("payments"), 0);
    nightly.jitter = Duration::from_secs(300);
    // Two versions of a host must agree.
    let delays = ["payments", "docs"].map(|window| nightly.delay_ms(window));
    assert_eq!(delays, [35_709, 263_072]);
    let two = ms("2026-06-02T00:00:00Z");
    let run_at = two + delays[0];
    let early = nightly.due("payments", two - MINUTE, run_at - 1);
    assert_eq!((early.run.len(), early.next_ms), (0, Some(run_at)));
    let due = nightly.due("payments", two - MINUTE, run_at);
    assert_eq!(names(&due), ["nightly@2026-06-02T02:00:00+02:00"]);
    assert_eq!(due.next_ms, Some(run_at + 24 * 60 * MINUTE));
}

#[test]
fn clock_that_was_far_ahead_does_not_stop_a_schedule_and_one_that_goes_back_repeats_nothing() {
    let hourly = schedule("0 * * * *", Missed::Last);
    let now = ms("2026-06-02T12:00:30Z");
    let ahead = hourly.due("w", now + 365 * 24 * 60 * MINUTE, now);
    assert_eq!((ahead.last_ms, ahead.run.len()), (now, 0));
    let back = hourly.due("w", now + 10 * MINUTE, now);
    assert_eq!((back.last_ms, back.run.len()), (now + 10 * MINUTE, 0));
    assert_eq!(back.next_ms, Some(ms("2026-06-02T13:00:00Z")));
}

proptest! {
    /// However a time is cut into looks, what is run and left out is each occurrence once.
    #[test]
    fn each_occurrence_is_run_or_left_out_once(
        pauses in prop::collection::vec(1_000..9 * 3_600_000_u64, 1..12),
        missed in prop::sample::select(vec![Missed::Last, Missed::All, Missed::Skip]),
        cron in prop::sample::select(vec!["0 * * * *", "30 2 * * *", "*/20 1-3 * * *"]),
        start in prop::sample::select(vec!["2026-03-28T20:00:00Z", "2026-10-24T20:00:00Z"]),
        jitter in prop::sample::select(vec![0_u64, 120]),
    ) {
        let mut schedule = schedule(cron, missed);
        schedule.jitter = Duration::from_secs(jitter);
        let start = ms(start);
        let (mut now, mut last) = (start, start);
        let (mut run, mut skipped) = (Vec::new(), 0);
        for pause in pauses {
            now += pause;
            let due = schedule.due("w", last, now);
            prop_assert!(due.last_ms >= last);
            prop_assert!(due.next_ms > Some(now));
            last = due.last_ms;
            skipped += due.skipped;
            run.extend(due.run.into_iter().map(|run| run.at_ms));
        }
        let until = now - schedule.delay_ms("w");
        let all = schedule.occurrences_between(start, until, usize::MAX);
        prop_assert!(run.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(run.iter().all(|at| all.contains(at)));
        prop_assert_eq!(run.len() + skipped, all.len());
        if missed == Missed::All {
            prop_assert!(skipped == 0 || run.len() < all.len());
        }
    }
}
