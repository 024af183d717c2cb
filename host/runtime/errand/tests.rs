//! What ends a request at a clerk, and whose fault that is.

use super::super::reuse::Reuse;
use super::*;

const WALL: Duration = Duration::from_secs(60);

#[test]
fn the_first_reason_stands() {
    let errand = Errand::new(Box::new(()), Box::new(()), WALL);
    errand.fail(Error::ClerkTrapped);
    errand.fail(Error::ClerkLimit);
    assert_eq!(errand.failure().map(Error::code), Some("clerk-trapped"));
}

#[test]
fn a_trap_after_denied_memory_is_named_for_the_memory() {
    let errand = Errand::new(Box::new(()), Box::new(()), WALL);
    errand.memory_denied(MemoryExhausted(7));
    errand.fail(Error::ClerkTrapped);
    assert_eq!(errand.failure().map(Error::code), Some("memory-limit"));
}

#[test]
fn whatever_ends_a_request_ends_what_it_may_send_on() {
    let ends: [fn(&Errand); 3] = [Errand::finish, Errand::abandon, |errand| {
        errand.fail(Error::ClerkTrapped);
    }];
    for end in ends {
        let next = Next::new(|_| Box::pin(std::future::pending()));
        let errand = Errand::new(Box::new(()), Box::new(()), WALL).with_next(Some(next));
        let begun = errand.onward().unwrap();
        // An answer that is passed through outlives its clerk.
        errand.end();
        assert!(!begun.is_over());
        end(&errand);
        assert!(begun.is_over());
    }
}

#[test]
fn abandonment_brings_the_deadline_nearer_but_never_further() {
    let errand = Errand::new(Box::new(()), Box::new(()), WALL);
    let long = errand.deadline(Instant::now());
    errand.abandon();
    assert!(errand.deadline(Instant::now()) < long);
    let short = Errand::new(Box::new(()), Box::new(()), Duration::from_millis(1));
    short.abandon();
    assert_eq!(
        short.deadline(Instant::now()),
        short.started + Duration::from_millis(1)
    );
}

#[test]
fn body_movement_counts_only_once_the_head_is_out() {
    let errand = Errand::new(Box::new(()), Box::new(()), WALL);
    let before = errand.deadline(Instant::now());
    std::thread::sleep(Duration::from_millis(2));
    errand.moved();
    assert_eq!(errand.deadline(Instant::now()), before);
    errand.answered();
    assert!(errand.deadline(Instant::now()) > before);
}

const SHORT: Duration = Duration::from_millis(20);

/// One that has so little time, answered or not.
fn short(answered: bool) -> Arc<Errand> {
    let errand = Errand::new(Box::new(()), Box::new(()), SHORT);
    let errand = Arc::new(errand.with_idle(Some(StreamIdle(SHORT))));
    if answered {
        errand.answered();
    }
    errand
}

fn asks(errand: &Arc<Errand>, begins: bool) {
    let mut cx = Context::from_waker(Waker::noop());
    match begins {
        true => assert!(errand.ask(&mut cx, |_| Poll::<()>::Pending).is_pending()),
        false => errand.clone().wake(),
    }
}

fn gives(errand: &Arc<Errand>, begins: bool) {
    match begins {
        true => errand.given(1),
        false => errand.taken(),
    }
}

#[test]
fn no_time_of_the_clerks_passes_while_its_client_is_waited_for() {
    for answered in [false, true] {
        for waits in [asks, gives] {
            let errand = short(answered);
            waits(&errand, true);
            for _ in 0..3 {
                std::thread::sleep(SHORT);
                let now = Instant::now();
                assert_eq!(errand.look(now), Some(now + LOOK_SOON), "and not at once");
                // Another look at the same thing.
                waits(&errand, true);
            }
            waits(&errand, false);
            assert!(
                errand.look(Instant::now()).is_some(),
                "it has its time still"
            );
            std::thread::sleep(SHORT);
            assert!(errand.look(Instant::now()).is_none());
            let code = ["wall-time", "stream-idle"][usize::from(answered)];
            assert_eq!(errand.failure().map(Error::code), Some(code));
            assert!(!errand.is_clients_fault());
        }
    }
}

#[test]
fn a_client_that_left_is_not_waited_for() {
    let errand = short(false);
    asks(&errand, true);
    errand.abandon();
    std::thread::sleep(2 * SHORT);
    let look = errand.look(Instant::now());
    assert!(look.is_some_and(|at| at <= Instant::now() + ABANDON_GRACE));
}

#[test]
fn one_that_gives_way_fails_by_its_clients_fault_and_is_soon_over() {
    for (answered, code) in [(false, "body-too-slow"), (true, "reader-too-slow")] {
        let errand = short(answered);
        errand.give_way();
        assert_eq!(errand.failure().map(Error::code), Some(code));
        assert!(errand.is_clients_fault());
        assert!(errand.deadline(Instant::now()) <= Instant::now() + ABANDON_GRACE);
    }
}

#[test]
fn what_the_client_took_before_the_last_chunk_excuses_nothing_after_it() {
    let errand = short(true);
    errand.given(1);
    std::thread::sleep(SHORT);
    errand.taken();
    errand.moved();
    std::thread::sleep(SHORT);
    assert!(errand.look(Instant::now()).is_none());
}

#[test]
fn what_is_done_after_the_answer_has_the_wall_time() {
    let errand = Errand::new(Box::new(()), Box::new(()), SHORT);
    errand.answered();
    assert!(errand.deadline(Instant::now()) > Instant::now() + WALL);
    errand.finish();
    assert!(errand.deadline(Instant::now()) <= Instant::now() + SHORT);
}

/// One that is the trial of its release.
fn trial() -> (Arc<Errand>, Arc<Reuse>) {
    let reuse = Arc::new(Reuse::default());
    let errand = Arc::new(Errand::new(Box::new(()), Box::new(()), WALL));
    errand.tries(reuse.try_one(Instant::now()).unwrap());
    (errand, reuse)
}

#[test]
fn a_trial_that_lives_for_a_while_after_its_head_has_gone_well() {
    for waits in [asks, gives] {
        let (errand, reuse) = trial();
        let now = Instant::now();
        assert!(errand.look(now).is_some_and(|at| at > now + HEAD_TIME));
        errand.answered();
        // It is an event stream, or its client is slow in either direction.
        waits(&errand, true);
        let next = errand.look(now).unwrap();
        assert!(next <= Instant::now() + HEAD_TIME && !reuse.is_proven());
        let head = *errand.tried_head.get().unwrap();
        assert!(errand.look(head + HEAD_TIME - SHORT).is_some() && !reuse.is_proven());
        assert!(errand.look(head + HEAD_TIME).is_some() && reuse.is_proven());
    }
}

#[test]
fn a_trial_whose_client_sends_its_body_too_slowly_is_given_up() {
    let (errand, reuse) = trial();
    asks(&errand, true);
    assert!(errand.look(Instant::now()).is_some());
    assert!(reuse.try_one(Instant::now()).is_none());
    let errand = Arc::into_inner(errand).unwrap();
    let long_ago = Instant::now().checked_sub(CLIENT_TIME + SHORT).unwrap();
    let errand = Errand {
        started: long_ago,
        ..errand
    };
    assert!(errand.look(Instant::now()).is_some());
    assert!(!reuse.is_proven() && reuse.try_one(Instant::now()).is_some());
}

#[test]
fn a_trial_whose_guest_takes_long_is_not_given_up() {
    let (errand, reuse) = trial();
    assert!(errand.look(errand.started + WALL - SHORT).is_some());
    assert!(!reuse.is_proven() && reuse.try_one(Instant::now()).is_none());
}
