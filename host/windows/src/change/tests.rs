//! Changes that race each other, or come too late. Those that meet a disk that fails are in `disk`,
//! those of a window that another host changes too in `hosts`; `settling` is about what serves, and
//! `artifacts` about the files that a change relies on.

mod artifacts;
mod disk;
mod hosts;
mod settling;

use crate::change::{Change, Load};
use crate::record::CanaryRecord;
use crate::release::fallback::Tripped;
use crate::testing::{Fixture, Random, Seen, Trouble, call, name, numbered};
use crate::traffic::serving::Serving;
use crate::window::Window;
use crate::{ChangeError, DeployOptions, Registry, ReleaseRecord, Upload, WindowRecord};
use hms_api::WindowState;
use hms_runtime::{Limit, LimitsChange};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Interleavings that are tried of each pair of verbs, in each state of the window.
const SEEDS: u64 = 3;

/// The longest that a test waits for what is tried again after a second.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Deploy,
    Canary,
    Start,
    Stop,
    Rollback,
    Share,
    Promote,
    Abort,
    Limits,
    Remove,
    RemoveWithStore,
}

use Verb::*;

const VERBS: [Verb; 11] = [
    Deploy,
    Canary,
    Start,
    Stop,
    Rollback,
    Share,
    Promote,
    Abort,
    Limits,
    Remove,
    RemoveWithStore,
];

fn share(percent: &str) -> crate::TrafficShare {
    percent.parse().unwrap()
}

fn limits(queue: u64) -> LimitsChange {
    LimitsChange([(Limit::Queue, Some(queue))].into())
}

/// What a verb is to do, said once more and without any waiting: what the window is afterwards, or
/// why it is as before.
fn model(verb: Verb, now: &Seen) -> Result<Seen, &'static str> {
    let gone = Seen {
        record: None,
        serving: "nothing".into(),
        data: now.data,
    };
    let Some(record) = now.record.clone() else {
        return match verb {
            Deploy => {
                let record = WindowRecord::default().with_release(numbered(0), None);
                Ok(opened(record, now.data))
            }
            Canary => Err("nothing-live"),
            _ => Err("no-window"),
        };
    };
    let mut next = record.clone();
    let running = record.canary.ok_or("no-canary");
    match verb {
        Deploy | Canary | Rollback if record.canary.is_some() => return Err("canary-running"),
        Deploy => {
            next = next.with_release(numbered(0), None);
            next.stopped = false;
        }
        Canary if record.stopped => return Err("nothing-live"),
        Canary => next = next.with_release(numbered(0), Some(share("10%"))),
        Start => next.stopped = false,
        Stop => next.stopped = true,
        Rollback => {
            next.live = record.before_live().ok_or("no-release")?;
            next.stopped = false;
        }
        Share => {
            let number = running?.number;
            let share = share("25%");
            next.canary = Some(CanaryRecord {
                number,
                share,
                salt: 0,
            });
        }
        Promote => {
            next.live = running?.number;
            next.canary = None;
        }
        Abort => {
            let number = running?.number;
            next.canary = None;
            let mut releases = next.releases.iter_mut();
            let candidate = releases.find(|release| release.number == number);
            candidate.unwrap().outcome = Some("aborted by an operator".into());
        }
        Limits => next.limits = record.limits.with(&limits(7)).unwrap(),
        Remove => return Ok(gone),
        RemoveWithStore => {
            return Ok(Seen {
                data: false,
                ..gone
            });
        }
    }
    Ok(opened(next, now.data))
}

/// The window of that record, as it is open.
fn opened(record: WindowRecord, data: bool) -> Seen {
    let serving = match (record.stopped, record.canary) {
        (true, _) => "stopped".into(),
        (false, None) => record.live.to_string(),
        (false, Some(canary)) => {
            format!("{} and {} at {}", record.live, canary.number, canary.share)
        }
    };
    let seen = Seen {
        record: Some(record),
        serving,
        data,
    };
    seen.comparable()
}

type Done = Result<(), &'static str>;

async fn run(registry: Arc<Registry>, verb: Verb, upload: Option<Upload>) -> Done {
    let name = &name();
    let done = match verb {
        Deploy | Canary => {
            let options = DeployOptions {
                canary: (verb == Canary).then(|| share("10%")),
                ..DeployOptions::default()
            };
            let upload = upload.unwrap();
            let deployed = registry
                .deploy(name.clone(), upload, options, &|_| {})
                .await;
            deployed.map(drop)
        }
        Start => registry.start(name).await.map(drop),
        Stop => registry.stop(name).await.map(drop),
        Rollback => registry.rollback(name, None, false).await.map(drop),
        Share => registry.share(name, share("25%")).await.map(drop),
        Promote => registry.promote(name).await.map(drop),
        Abort => registry.abort(name).await.map(drop),
        Limits => registry.set_limits(name, &limits(7)).await.map(drop),
        Remove => registry.remove(name, false).await.map(drop),
        RemoveWithStore => registry.remove(name, true).await.map(drop),
    };
    done.map_err(|error: ChangeError| error.parts().1)
}

async fn begin(fixture: &Fixture, verb: Verb) -> impl Future<Output = Done> + use<> {
    let upload = match verb {
        Deploy => Some(fixture.upload(3).await),
        Canary => Some(fixture.upload(4).await),
        _ => None,
    };
    run(fixture.registry.clone(), verb, upload)
}

/// Both at once; at each step it is left to chance which of them goes on.
async fn raced<T>(a: impl Future<Output = T>, b: impl Future<Output = T>, seed: u64) -> (T, T) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    let mut random = Random::new(seed);
    poll_fn(move |cx| {
        let chosen = random.below(3);
        if of_a.is_none()
            && chosen != 0
            && let Poll::Ready(done) = a.as_mut().poll(cx)
        {
            of_a = Some(done);
        }
        if of_b.is_none()
            && chosen != 1
            && let Poll::Ready(done) = b.as_mut().poll(cx)
        {
            of_b = Some(done);
        }
        if of_a.is_some() && of_b.is_some() {
            return Poll::Ready(of_a.take().zip(of_b.take()).unwrap());
        }
        // Whoever was passed over may be the one that was woken.
        if chosen < 2 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_of_a_window_have_a_sequential_outcome() {
    let fixture = Fixture::new(false).await;
    let states = fixture.states().await;
    let mut seed = 0;
    for (at, a) in VERBS.into_iter().enumerate() {
        for b in &VERBS[at..] {
            for state in &states {
                for _ in 0..SEEDS {
                    seed += 1;
                    fixture.disk.seed(seed);
                    fixture.set_up(state).await;
                    let before = fixture.seen(&fixture.registry).comparable();
                    let both =
                        raced(begin(&fixture, a).await, begin(&fixture, *b).await, seed).await;
                    let case = format!("{a:?} and {b:?} on {}, seed {seed}", before.serving);
                    check(&fixture, &before, (a, *b), both, &case);
                    if seed % 50 == 0 {
                        let now = fixture.seen(&fixture.registry).comparable();
                        let later = fixture.seen(&fixture.restarted().await);
                        assert_eq!(later.comparable(), now, "{case}, after a restart");
                    }
                }
            }
        }
    }
}

fn check(fixture: &Fixture, before: &Seen, verbs: (Verb, Verb), both: (Done, Done), case: &str) {
    let after = fixture.seen(&fixture.registry);
    assert_eq!(fixture.on_disk(), after.record, "{case}: disk and memory");
    let after = after.comparable();
    let in_order = |first: Verb, second: Verb| {
        let mut now = before.clone();
        let outcomes = [first, second].map(|verb| match model(verb, &now) {
            Ok(next) => {
                now = next;
                Ok(())
            }
            Err(code) => Err(code),
        });
        (outcomes, now)
    };
    let (a, b) = verbs;
    let ([of_a, of_b], end) = in_order(a, b);
    let forward = (of_a, of_b) == both && end == after;
    let ([of_b, of_a], other) = in_order(b, a);
    let backward = (of_a, of_b) == both && other == after;
    assert!(
        forward || backward,
        "{case}: {both:?} and {after:#?}, neither {end:#?} nor {other:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_follows_the_model_and_survives_a_restart() {
    let fixture = Fixture::new(false).await;
    for state in fixture.states().await {
        for verb in VERBS {
            fixture.set_up(&state).await;
            let before = fixture.seen(&fixture.registry).comparable();
            let outcome = begin(&fixture, verb).await.await;
            let (expected, end) = match model(verb, &before) {
                Ok(end) => (Ok(()), end),
                Err(code) => (Err(code), before.clone()),
            };
            let case = format!("{verb:?} on {}", before.serving);
            assert_eq!(outcome, expected, "{case}");
            assert_eq!(fixture.seen(&fixture.registry).comparable(), end, "{case}");
            let later = fixture.seen(&fixture.restarted().await);
            assert_eq!(later.comparable(), end, "{case}, after a restart");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploy_that_waited_for_a_removal_goes_live_in_a_new_window_without_old_limits() {
    let fixture = Fixture::new(false).await;
    let [open, ..] = fixture.states().await;
    fixture.set_up(&open).await;
    let window = fixture.registry.window(&name()).unwrap();
    let lease = window.lease(&call()).unwrap();
    let removal = tokio::spawn(run(fixture.registry.clone(), RemoveWithStore, None));
    while !matches!(&*window.serving(), Serving::Empty) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The one waits behind the other, and both behind the removal, which waits for the request.
    let before = waiting(&window);
    let set = tokio::spawn(run(fixture.registry.clone(), Limits, None));
    until_waiting(&window, before + 1).await;
    let deploy = tokio::spawn(begin(&fixture, Deploy).await);
    until_waiting(&window, before + 2).await;
    assert!(!deploy.is_finished() && !set.is_finished());
    drop(lease);
    assert_eq!(removal.await.unwrap(), Ok(()));
    assert_eq!(set.await.unwrap(), Err("no-window"));
    assert_eq!(deploy.await.unwrap(), Ok(()));
    let seen = fixture.seen(&fixture.registry);
    assert_eq!((seen.serving.as_str(), seen.data), ("1", false));
    assert_eq!(fixture.on_disk(), seen.record);
    assert_eq!(fixture.seen(&fixture.restarted().await), seen);
}

/// How many have the window or wait for it: each has the lock itself meanwhile.
fn waiting(window: &Window) -> usize {
    Arc::strong_count(&window.recorded.turn)
}

async fn until_waiting(window: &Window, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while waiting(window) < count {
        assert!(Instant::now() < deadline, "{} of {count}", waiting(window));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn settled(fixture: &Fixture) {
    let deadline = Instant::now() + PATIENCE;
    while fixture.registry.unsaved() > 0 {
        assert!(Instant::now() < deadline, "it is never on disk");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Whoever has put it there also switches what serves, and has the window until then.
    if let Ok(window) = fixture.registry.window(&name()) {
        drop(Change::of_window(&fixture.registry, &window).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_dropped_at_any_point_leaves_memory_and_disk_alike() {
    let fixture = Fixture::new(false).await;
    let states = fixture.states().await;
    for (verb, at) in [
        (Deploy, 0),
        (Stop, 0),
        (Start, 1),
        (Promote, 2),
        (RemoveWithStore, 0),
    ] {
        for polls in 1.. {
            fixture.disk.seed(polls);
            fixture.set_up(&states[at]).await;
            let before = fixture.seen(&fixture.registry);
            let end = model(verb, &before.clone().comparable()).unwrap();
            let mut left = polls;
            let mut change = Box::pin(begin(&fixture, verb).await);
            let done = poll_fn(|cx| match (change.as_mut().poll(cx), left) {
                (Poll::Ready(_), _) => Poll::Ready(true),
                (Poll::Pending, 1) => Poll::Ready(false),
                _ => {
                    left -= 1;
                    Poll::Pending
                }
            });
            let done = done.await;
            drop(change);
            let deadline = Instant::now() + PATIENCE;
            loop {
                let now = fixture.seen(&fixture.registry);
                let whole = now == before || now.clone().comparable() == end;
                if whole && fixture.on_disk() == now.record && fixture.registry.unsaved() == 0 {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "{verb:?} after {polls} polls: {now:#?}, {:#?}",
                    fixture.on_disk()
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if done {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_report_about_a_removed_window_changes_no_successor() {
    let fixture = Fixture::new(false).await;
    let [open, _, canary] = fixture.states().await;
    fixture.set_up(&open).await;
    let removed = fixture.registry.window(&name()).unwrap();
    fixture.set_up(&open).await;
    let window = fixture.registry.window(&name()).unwrap();
    let trip = |window: &Arc<Window>| Tripped {
        window: window.clone(),
        number: 2,
        why: "the test has it so".into(),
    };
    // One report waits at a time: that a third is sent says that the first has had its effect.
    for _ in 0..3 {
        removed.trips.send(trip(&removed)).await.unwrap();
    }
    assert_eq!(fixture.seen(&fixture.registry).serving, "2");
    window.trips.send(trip(&window)).await.unwrap();
    eventually(&fixture, "1").await;

    fixture.set_up(&canary).await;
    let removed = verdict(&fixture);
    fixture.set_up(&canary).await;
    removed.send("worse".into()).await.unwrap();
    // Whoever gets it ends after its effect.
    removed.closed().await;
    assert_eq!(fixture.seen(&fixture.registry).serving, "2 and 3 at 50%");
    verdict(&fixture).send("worse".into()).await.unwrap();
    eventually(&fixture, "2").await;
}

fn verdict(fixture: &Fixture) -> tokio::sync::mpsc::Sender<String> {
    match &*fixture.registry.window(&name()).unwrap().serving() {
        Serving::Open {
            canary: Some(canary),
            ..
        } => canary.verdict.clone(),
        _ => panic!("no canary"),
    }
}

async fn eventually(fixture: &Fixture, serving: &str) {
    let deadline = Instant::now() + PATIENCE;
    while fixture.seen(&fixture.registry).serving != serving {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            fixture.seen(&fixture.registry)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn gone(fixture: &Fixture) {
    let deadline = Instant::now() + PATIENCE;
    while fixture.registry.window(&name()).is_ok() {
        assert!(Instant::now() < deadline, "it is never removed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the window gets requests.
fn serves(fixture: &Fixture) -> bool {
    let window = fixture.registry.window(&name()).unwrap();
    window.lease(&call()).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_is_closed_at_once_while_another_change_runs() {
    let fixture = Fixture::of_operators().await;
    let [open, ..] = fixture.states().await;
    for verb in [Stop, Remove, RemoveWithStore] {
        fixture.set_up(&open).await;
        // As a deploy whose probe hangs.
        let mut deploy = Change::of(&fixture.registry, &name()).await.unwrap();
        assert!(serves(&fixture));
        let closing = tokio::spawn(run(fixture.registry.clone(), verb, None));
        while serves(&fixture) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let asked = Instant::now();
        assert_eq!(closing.await.unwrap(), Ok(()), "{verb:?}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{verb:?}");
        let (status, _) = fixture.registry.status(&name()).unwrap();
        assert_eq!(
            status.state,
            match verb {
                Stop => WindowState::Stopped,
                _ => WindowState::Removing,
            }
        );
        assert!(status.unsaved.unwrap().why.contains("another change"));
        // Once more, and as often as anybody likes, makes nothing more of it.
        assert_eq!(run(fixture.registry.clone(), verb, None).await, Ok(()));
        // What it opens gets nothing, then and afterwards.
        let release = ReleaseRecord {
            digest: open.release(2).unwrap().digest.clone(),
            ..numbered(0)
        };
        let edit = deploy.commit(&Load::Untried, |record| {
            *record = record.clone().with_release(release.clone(), None);
            Ok(())
        });
        edit.await.unwrap();
        assert_eq!(fixture.seen(&fixture.registry).serving, "3");
        assert!(!serves(&fixture), "{verb:?}");
        drop(deploy);
        settled(&fixture).await;
        if verb != Stop {
            gone(&fixture).await;
        }
        let seen = fixture.seen(&fixture.registry);
        assert_eq!(fixture.on_disk(), seen.record, "{verb:?}");
        assert_eq!(seen.data, verb != RemoveWithStore, "{verb:?}");
        match verb {
            Stop => {
                let record = seen.record.unwrap();
                assert_eq!((record.stopped, record.live), (true, 3));
                assert_eq!(seen.serving, "stopped");
            }
            _ => assert_eq!((seen.record, seen.serving.as_str()), (None, "nothing")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_stopped_during_its_deploy_is_deployed_and_stays_closed() {
    let fixture = Fixture::new(false).await;
    let [open, stopped, _] = fixture.states().await;
    for state in [open, stopped] {
        fixture.set_up(&state).await;
        let turn = Change::of(&fixture.registry, &name()).await.unwrap();
        let mut deploy = Box::pin(begin(&fixture, Deploy).await);
        assert!(futures_util::poll!(&mut deploy).is_pending());
        let deploy = tokio::spawn(deploy);
        let stop = tokio::spawn(run(fixture.registry.clone(), Stop, None));
        while fixture.registry.window(&name()).unwrap().recorded.stops() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(turn);
        assert_eq!(stop.await.unwrap(), Ok(()));
        assert_eq!(deploy.await.unwrap(), Ok(()));
        let seen = fixture.seen(&fixture.registry);
        assert_eq!(seen.serving, "stopped");
        assert_eq!(fixture.on_disk(), seen.record);
        assert_eq!(seen.record.unwrap().live, 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_with_an_unreadable_record_is_listed_with_the_reason() {
    let fixture = Fixture::new(false).await;
    let [open, ..] = fixture.states().await;
    fixture.set_up(&open).await;
    let window = fixture.registry.window(&name()).unwrap();
    window.recorded.set_unreadable("the test has it so");
    let status = fixture.registry.statuses();
    let status = status
        .iter()
        .find(|status| status.name == name().as_str())
        .unwrap();
    assert_eq!(status.state, WindowState::Unreadable);
    assert_eq!(status.unreadable.as_deref(), Some("the test has it so"));
    assert_eq!(begin(&fixture, Stop).await.await, Err("record-unreadable"));
}
