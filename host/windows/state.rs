//! The states of a release, and the one function by which it goes from one to the next.

use serde::Serialize;

/// Where a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its bytes are on disk.
    Received,
    /// They are a window.
    Checked,
    /// There is native code for it.
    Compiled,
    /// An instance of it started, and answered the probe where one was asked for.
    Tried,
    /// It is in the window's record: from here on it outlives a crash.
    Recorded,
    /// It gets a share of the requests.
    Canary,
    /// It gets the requests.
    Live,
    /// It gets no more requests, and finishes those it has.
    Draining,
    /// Nothing of it runs any more. It can be loaded again from its record.
    Retired,
    /// It was found wanting before it was recorded.
    Refused,
}

/// What happens to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    Check,
    Compile,
    Try,
    Record,
    /// It is given a share of the requests.
    TrafficShare,
    /// The pointer is swapped to it.
    Swap,
    /// It gets no more requests: another was swapped in, its canary ended, or its window closed.
    Replace,
    /// Its last lease ended.
    Drain,
    /// It was found wanting.
    Refuse,
}

/// An event that cannot happen in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a release that is {0:?} cannot take {1:?}")]
pub struct Illegal(pub State, pub Event);

impl State {
    /// The state after `event`.
    ///
    /// # Errors
    /// When the event cannot happen in this state.
    pub fn next(self, event: Event) -> Result<State, Illegal> {
        use Event as E;
        use State as S;
        Ok(match (self, event) {
            (S::Received, E::Check) => S::Checked,
            (S::Checked, E::Compile) => S::Compiled,
            (S::Compiled, E::Try) => S::Tried,
            (S::Tried, E::Record) => S::Recorded,
            (S::Received | S::Checked | S::Compiled | S::Tried, E::Refuse) => S::Refused,
            (S::Recorded, E::TrafficShare) => S::Canary,
            (S::Recorded | S::Canary, E::Swap) => S::Live,
            (S::Canary | S::Live, E::Replace) => S::Draining,
            (S::Draining, E::Drain) => S::Retired,
            (state, event) => return Err(Illegal(state, event)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn serves(state: State) -> bool {
        matches!(state, State::Canary | State::Live)
    }

    fn event() -> impl Strategy<Value = Event> {
        use Event::*;
        proptest::sample::select(vec![
            Check,
            Compile,
            Try,
            Record,
            TrafficShare,
            Swap,
            Replace,
            Drain,
            Refuse,
        ])
    }

    /// The events that happened, those that could not left out.
    fn walk(events: &[Event]) -> (State, Vec<Event>) {
        let mut state = State::Received;
        let mut happened = Vec::new();
        for event in events {
            if let Ok(next) = state.next(*event) {
                state = next;
                happened.push(*event);
            }
        }
        (state, happened)
    }

    proptest! {
        #[test]
        fn what_serves_was_checked_compiled_tried_and_recorded_in_that_order(events in proptest::collection::vec(event(), 0..40)) {
            let (state, happened) = walk(&events);
            if serves(state) || matches!(state, State::Draining | State::Retired) {
                prop_assert_eq!(&happened[..4], [Event::Check, Event::Compile, Event::Try, Event::Record]);
            }
        }

        #[test]
        fn what_was_refused_or_retired_never_serves_again(events in proptest::collection::vec(event(), 0..40), more in proptest::collection::vec(event(), 0..20)) {
            let (state, _) = walk(&events);
            if matches!(state, State::Refused | State::Retired) {
                prop_assert!(more.iter().all(|event| state.next(*event).is_err()));
            }
        }

        #[test]
        fn nothing_recorded_is_ever_refused(events in proptest::collection::vec(event(), 0..40)) {
            let (state, happened) = walk(&events);
            if happened.contains(&Event::Record) {
                prop_assert_ne!(state, State::Refused);
            }
        }
    }

    #[test]
    fn a_canary_ends_live_or_drained() {
        let canary = State::Recorded.next(Event::TrafficShare).unwrap();
        assert_eq!(canary.next(Event::Swap), Ok(State::Live));
        let aborted = canary.next(Event::Replace).unwrap();
        assert_eq!(aborted.next(Event::Drain), Ok(State::Retired));
    }
}
