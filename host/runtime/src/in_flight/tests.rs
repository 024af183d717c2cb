//! What ends a request at an instance, and whose fault that is.

use super::super::reuse::Reuse;
use super::*;
use hms_core::next::Next;

const WALL: Duration = Duration::from_secs(60);

#[test]
fn first_failure_is_kept() {
    let in_flight = InFlight::new(Box::new(()), Box::new(()), WALL);
    in_flight.fail(InstanceError::Trapped);
    in_flight.fail(InstanceError::PoolFull);
    assert_eq!(
        in_flight.failure().map(InstanceError::code),
        Some("instance-trapped")
    );
}

#[test]
fn trap_after_denied_memory_is_reported_as_the_memory_limit() {
    let in_flight = InFlight::new(Box::new(()), Box::new(()), WALL);
    in_flight.memory_denied(MemoryExhausted(7));
    in_flight.fail(InstanceError::Trapped);
    assert_eq!(
        in_flight.failure().map(InstanceError::code),
        Some("memory-limit")
    );
}

#[test]
fn end_of_a_request_ends_its_middleware_calls() {
    let ends: [fn(&InFlight); 3] = [InFlight::finish, InFlight::abandon, |in_flight| {
        in_flight.fail(InstanceError::Trapped);
    }];
    for end in ends {
        let next = Next::new(|_| Box::pin(std::future::pending()));
        let in_flight = InFlight::new(Box::new(()), Box::new(()), WALL)
            .with_calling(Some(Calling::passing_on(next)));
        let begun = in_flight.calling().unwrap().clone();
        // An answer that is passed through outlives its instance.
        in_flight.end();
        assert!(!begun.is_over());
        end(&in_flight);
        assert!(begun.is_over());
    }
}

#[test]
fn callee_that_runs_out_of_its_callers_time_is_not_to_blame() {
    let in_flight = |left| InFlight::new(Box::new(()), Box::new(()), WALL).within(Some(left));
    for (left, callers) in [(WALL / 2, true), (WALL * 2, false)] {
        let in_flight = in_flight(left);
        let time = left.min(WALL);
        assert_eq!(
            in_flight.deadline(in_flight.started),
            in_flight.started + time
        );
        assert!(in_flight.look(in_flight.started + time).is_none());
        let code = in_flight.failure().map(InstanceError::code);
        assert_eq!(
            (code, in_flight.is_clients_fault()),
            (Some("wall-time"), callers)
        );
    }
}

#[test]
fn abandonment_only_ever_shortens_the_deadline() {
    let in_flight = InFlight::new(Box::new(()), Box::new(()), WALL);
    let long = in_flight.deadline(Instant::now());
    in_flight.abandon();
    assert!(in_flight.deadline(Instant::now()) < long);
    let short = InFlight::new(Box::new(()), Box::new(()), Duration::from_millis(1));
    short.abandon();
    assert_eq!(
        short.deadline(Instant::now()),
        short.started + Duration::from_millis(1)
    );
}

#[tokio::test(start_paused = true)]
async fn body_movement_extends_the_deadline_only_after_the_head() {
    let in_flight = InFlight::new(Box::new(()), Box::new(()), WALL);
    let before = in_flight.deadline(Instant::now());
    tokio::time::advance(Duration::from_millis(2)).await;
    in_flight.moved();
    assert_eq!(in_flight.deadline(Instant::now()), before);
    in_flight.answered();
    assert!(in_flight.deadline(Instant::now()) > before);
}

const SHORT: Duration = Duration::from_millis(20);

/// One that has so little time, answered or not.
fn short(answered: bool) -> Arc<InFlight> {
    let in_flight = InFlight::new(Box::new(()), Box::new(()), SHORT);
    let in_flight = Arc::new(in_flight.with_idle(Some(StreamIdle(SHORT))));
    if answered {
        in_flight.answered();
    }
    in_flight
}

fn asks(in_flight: &Arc<InFlight>, begins: bool) {
    let mut cx = Context::from_waker(Waker::noop());
    match begins {
        true => assert!(in_flight.ask(&mut cx, |_| Poll::<()>::Pending).is_pending()),
        false => in_flight.clone().wake(),
    }
}

fn gives(in_flight: &Arc<InFlight>, begins: bool) {
    match begins {
        true => in_flight.given(1),
        false => in_flight.taken(),
    }
}

#[tokio::test(start_paused = true)]
async fn instance_time_stops_while_its_client_is_waited_for() {
    for answered in [false, true] {
        for waits in [asks, gives] {
            let in_flight = short(answered);
            waits(&in_flight, true);
            for _ in 0..3 {
                tokio::time::advance(SHORT).await;
                let now = Instant::now();
                assert_eq!(
                    in_flight.look(now),
                    Some(now + LOOK_SOON),
                    "and not at once"
                );
                // Another look at the same thing.
                waits(&in_flight, true);
            }
            waits(&in_flight, false);
            assert!(
                in_flight.look(Instant::now()).is_some(),
                "it has its time still"
            );
            tokio::time::advance(SHORT).await;
            assert!(in_flight.look(Instant::now()).is_none());
            let code = ["wall-time", "stream-idle"][usize::from(answered)];
            assert_eq!(in_flight.failure().map(InstanceError::code), Some(code));
            assert!(!in_flight.is_clients_fault());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn departed_client_is_not_waited_for() {
    let in_flight = short(false);
    asks(&in_flight, true);
    in_flight.abandon();
    tokio::time::advance(2 * SHORT).await;
    let look = in_flight.look(Instant::now());
    assert!(look.is_some_and(|at| at <= Instant::now() + ABANDON_GRACE));
}

#[tokio::test(start_paused = true)]
async fn request_of_a_window_ends_with_those_who_wait_for_it() {
    for answered in [false, true] {
        let of_client = short(answered);
        let of_window = Arc::into_inner(short(answered)).unwrap().of_a_window();
        for (in_flight, ends) in [(&*of_client, false), (&of_window, true)] {
            assert!(in_flight.look(Instant::now()).is_some());
            in_flight.abandon();
            assert_eq!(in_flight.look(Instant::now()).is_none(), ends);
            assert_eq!(in_flight.is_clients_fault(), ends);
        }
        // One that is done may still clean up.
        let done = Arc::into_inner(short(answered)).unwrap().of_a_window();
        done.finish();
        done.abandon();
        assert!(done.deadline(Instant::now()) > Instant::now());
        assert!(!done.is_clients_fault());
    }
}

#[tokio::test(start_paused = true)]
async fn answer_is_to_begin_in_time_without_the_waits_for_the_client() {
    let begin_by = Instant::now() + SHORT;
    let in_flight = Arc::into_inner(short(false)).unwrap();
    assert_eq!(in_flight.begin_by(Instant::now()), None);
    let in_flight = Arc::new(in_flight.beginning_by(Some(begin_by.into_std())));
    assert_eq!(in_flight.begin_by(Instant::now()), Some(begin_by));
    asks(&in_flight, true);
    tokio::time::advance(SHORT).await;
    assert_eq!(in_flight.begin_by(Instant::now()), Some(begin_by + SHORT));
    in_flight.answered();
    assert_eq!(in_flight.begin_by(Instant::now()), None);
}

#[tokio::test(start_paused = true)]
async fn request_that_gives_way_fails_by_its_client_and_ends_soon() {
    for (answered, code) in [(false, "body-too-slow"), (true, "reader-too-slow")] {
        let in_flight = short(answered);
        in_flight.give_way();
        assert_eq!(in_flight.failure().map(InstanceError::code), Some(code));
        assert!(in_flight.is_clients_fault());
        assert!(in_flight.deadline(Instant::now()) <= Instant::now() + ABANDON_GRACE);
    }
}

#[tokio::test(start_paused = true)]
async fn progress_before_the_last_chunk_does_not_excuse_a_stall_after_it() {
    let in_flight = short(true);
    in_flight.given(1);
    tokio::time::advance(SHORT).await;
    in_flight.taken();
    in_flight.moved();
    tokio::time::advance(SHORT).await;
    assert!(in_flight.look(Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn work_after_the_answer_has_the_wall_time() {
    let in_flight = InFlight::new(Box::new(()), Box::new(()), SHORT);
    in_flight.answered();
    assert!(in_flight.deadline(Instant::now()) > Instant::now() + WALL);
    in_flight.finish();
    assert!(in_flight.deadline(Instant::now()) <= Instant::now() + SHORT);
}

/// One that is the trial of its release.
fn trial() -> (Arc<InFlight>, Arc<Reuse>) {
    let reuse = Arc::new(Reuse::default());
    let in_flight = Arc::new(InFlight::new(Box::new(()), Box::new(()), WALL));
    in_flight.tries(reuse.try_one(std::time::Instant::now()).unwrap());
    (in_flight, reuse)
}

#[tokio::test(start_paused = true)]
async fn trial_that_survives_its_head_for_a_while_succeeds() {
    for waits in [asks, gives] {
        let (in_flight, reuse) = trial();
        let now = Instant::now();
        assert!(in_flight.look(now).is_some_and(|at| at > now + HEAD_TIME));
        in_flight.answered();
        // It is an event stream, or its client is slow in either direction.
        waits(&in_flight, true);
        let next = in_flight.look(now).unwrap();
        assert!(next <= Instant::now() + HEAD_TIME && !reuse.is_proven());
        let head = *in_flight.tried_head.get().unwrap();
        assert!(in_flight.look(head + HEAD_TIME - SHORT).is_some() && !reuse.is_proven());
        assert!(in_flight.look(head + HEAD_TIME).is_some() && reuse.is_proven());
    }
}

#[tokio::test(start_paused = true)]
async fn trial_with_a_slow_uploading_client_is_given_up() {
    let (in_flight, reuse) = trial();
    asks(&in_flight, true);
    assert!(in_flight.look(Instant::now()).is_some());
    assert!(reuse.try_one(std::time::Instant::now()).is_none());
    let in_flight = Arc::into_inner(in_flight).unwrap();
    let long_ago = Instant::now().checked_sub(CLIENT_TIME + SHORT).unwrap();
    let in_flight = InFlight {
        started: long_ago,
        ..in_flight
    };
    assert!(in_flight.look(Instant::now()).is_some());
    assert!(!reuse.is_proven() && reuse.try_one(std::time::Instant::now()).is_some());
}

#[tokio::test(start_paused = true)]
async fn trial_with_a_slow_guest_is_not_given_up() {
    let (in_flight, reuse) = trial();
    assert!(in_flight.look(in_flight.started + WALL - SHORT).is_some());
    assert!(!reuse.is_proven() && reuse.try_one(std::time::Instant::now()).is_none());
}
