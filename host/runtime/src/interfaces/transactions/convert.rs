//! The store's types of the guest's, and what is checked on the way.

use super::bindings::hms::store::transactions as guest;
use super::error::Refusal;
use super::event;
use crate::interfaces::keyvalue::check;
use hms_core::limits::WindowLimits;
use hms_store::{Check, EntryKey, MAX_BATCH_OPS, Op, StoreError, Transaction};

/// Bytes of a `once` key, and of the name of a timer. 1 KiB, as of a key of the store.
const NAME_BYTES: usize = 1 << 10;

/// What the `once` keys of the host begin with: those of its schedules.
const HOSTS_ONCE: &str = "hms-schedule/";

/// A transaction that may be given to the store.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) transaction: Transaction,
    /// The places of its counters, in order.
    pub(super) added: Vec<EntryKey>,
}

impl Submission {
    /// Checks what a guest submits under `limits`.
    pub(super) fn new(
        submitted: guest::Transaction,
        limits: &WindowLimits,
        traceparent: Option<String>,
        now_ms: u64,
    ) -> Result<Self, Refusal> {
        let guest::Transaction {
            checks,
            changes,
            events,
            cancel,
            once,
        } = submitted;
        check_count(changes.len())?;
        if let Some(once) = &once {
            check_name("once", once)?;
            if once.starts_with(HOSTS_ONCE) {
                return Err(Refusal::invalid(format!(
                    "the once key {once:?} is one of the host's: use one that does not begin with \
                     '{HOSTS_ONCE}'"
                )));
            }
        }
        for name in &cancel {
            check_name("cancel", name)?;
        }
        let mut added = Vec::new();
        let changes = changes.into_iter().map(|change| {
            let (place, op) = op(change, limits)?;
            added.extend(place);
            Ok(op)
        });
        let changes = changes.collect::<Result<Vec<_>, Refusal>>()?;
        let checks = checks.into_iter().map(check_of);
        let events = events
            .into_iter()
            .map(|event| event::checked(event, traceparent.clone()));
        Ok(Submission {
            transaction: Transaction {
                once,
                checks: checks.collect::<Result<_, _>>()?,
                changes,
                events: events.collect::<Result<_, _>>()?,
                cancel,
                now_ms,
            },
            added,
        })
    }
}

/// Refuses more than the store accepts at once.
pub(super) fn check_count(count: usize) -> Result<(), Refusal> {
    let limit = MAX_BATCH_OPS;
    match count > limit {
        true => Err(Refusal::of_commit(&StoreError::TooMany { count, limit })),
        false => Ok(()),
    }
}

/// The rule for a key that is none of a bucket.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(Refusal::invalid(format!(
            "{field} is empty: leave it out, or give it at least 1 byte"
        )));
    }
    if name.len() > NAME_BYTES {
        return Err(Refusal::too_large(
            "key-too-long",
            format!(
                "{field} of {} bytes is over the limit of {NAME_BYTES}: use a shorter one",
                name.len()
            ),
        ));
    }
    Ok(())
}

fn check_of(guest::Check { at, version }: guest::Check) -> Result<Check, Refusal> {
    let version = version.map(|text| {
        let number = text.parse();
        number.map_err(|_| {
            Refusal::invalid(format!(
                "the version {text:?} of a check was not returned by a read"
            ))
        })
    });
    Ok(Check {
        at: at.into(),
        version: version.transpose()?,
    })
}

/// The change, and its place if it is of a counter.
fn op(change: guest::Change, limits: &WindowLimits) -> Result<(Option<EntryKey>, Op), Refusal> {
    let refused = |error: StoreError| Refusal::of_commit(&error);
    Ok(match change {
        guest::Change::Set((guest::Place { bucket, key }, value)) => {
            check(limits, &key, &value).map_err(refused)?;
            (None, Op::Set { bucket, key, value })
        }
        guest::Change::Delete(guest::Place { bucket, key }) => (None, Op::Delete { bucket, key }),
        guest::Change::Add((place, delta)) => {
            check(limits, &place.key, &[]).map_err(refused)?;
            let place = EntryKey::from(place);
            let EntryKey { bucket, key } = place.clone();
            (Some(place), Op::Increment { bucket, key, delta })
        }
    })
}

impl From<guest::Place> for EntryKey {
    fn from(guest::Place { bucket, key }: guest::Place) -> Self {
        EntryKey { bucket, key }
    }
}

impl From<EntryKey> for guest::Place {
    fn from(EntryKey { bucket, key }: EntryKey) -> Self {
        guest::Place { bucket, key }
    }
}

impl From<hms_store::Entry> for guest::Entry {
    fn from(hms_store::Entry { value, version }: hms_store::Entry) -> Self {
        guest::Entry {
            value,
            version: version.to_string(),
        }
    }
}

impl From<hms_store::Committed> for guest::Committed {
    fn from(committed: hms_store::Committed) -> Self {
        guest::Committed {
            version: committed.version.to_string(),
            counters: committed.counters,
            event_ids: committed.event_ids,
            repeated: committed.repeated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::limits::Limit;

    fn place(key: &str) -> guest::Place {
        guest::Place {
            bucket: "b".into(),
            key: key.into(),
        }
    }

    fn empty() -> guest::Transaction {
        guest::Transaction {
            checks: Vec::new(),
            changes: Vec::new(),
            events: Vec::new(),
            cancel: Vec::new(),
            once: None,
        }
    }

    fn submit(submitted: guest::Transaction) -> Result<Submission, guest::Error> {
        let limits = WindowLimits::default().at(Limit::KeyBytes, 8);
        Submission::new(submitted, &limits, None, 7).map_err(|refusal| refusal.error)
    }

    #[test]
    fn transaction_is_passed_on_whole() {
        let submission = submit(guest::Transaction {
            checks: vec![
                guest::Check {
                    at: place("a"),
                    version: Some("12".into()),
                },
                guest::Check {
                    at: place("b"),
                    version: None,
                },
            ],
            changes: vec![
                guest::Change::Set((place("a"), b"x".to_vec())),
                guest::Change::Add((place("n"), -2)),
                guest::Change::Delete(place("a very long key")),
            ],
            cancel: vec!["remind/7".into()],
            once: Some("o".into()),
            ..empty()
        });
        let Submission { transaction, added } = submission.unwrap();
        let versions: Vec<_> = transaction.checks.iter().map(|it| it.version).collect();
        assert_eq!(versions, [Some(12), None]);
        assert_eq!(transaction.changes.len(), 3);
        assert_eq!(transaction.changes[1].place(), ("b", "n"));
        assert_eq!(added, [EntryKey::from(place("n"))]);
        assert_eq!(
            (transaction.once.as_deref(), transaction.now_ms),
            (Some("o"), 7)
        );
        assert_eq!(transaction.cancel, ["remind/7"]);
    }

    #[test]
    fn limits_of_the_window_hold_in_transactions() {
        for change in [
            guest::Change::Set((place("123456789"), Vec::new())),
            guest::Change::Add((place("123456789"), 1)),
        ] {
            let refused = submit(guest::Transaction {
                changes: vec![change],
                ..empty()
            });
            assert!(matches!(refused, Err(guest::Error::TooLarge(_))));
        }
        let deletes = |count| {
            submit(guest::Transaction {
                changes: vec![guest::Change::Delete(place("a")); count],
                ..empty()
            })
        };
        assert!(deletes(MAX_BATCH_OPS).is_ok());
        let refused = deletes(MAX_BATCH_OPS + 1);
        assert!(matches!(refused, Err(guest::Error::TooLarge(_))));
    }

    #[test]
    fn once_keys_of_the_host_and_foreign_versions_are_refused() {
        let once = |key: &str| {
            submit(guest::Transaction {
                once: Some(key.into()),
                ..empty()
            })
        };
        let refused = |outcome| match outcome {
            Err(guest::Error::Other(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(once("hms-schedules").is_ok());
        assert!(refused(once("hms-schedule/nightly@1")).contains("hms-schedule/"));
        assert!(refused(once("")).starts_with("invalid: once is empty"));
        let long = once(&"x".repeat(1025));
        assert!(matches!(long, Err(guest::Error::TooLarge(_))));
        let foreign = submit(guest::Transaction {
            checks: vec![guest::Check {
                at: place("a"),
                version: Some("v1".into()),
            }],
            ..empty()
        });
        assert!(refused(foreign).contains("\"v1\""));
    }
}
