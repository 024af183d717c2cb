use super::host::{Error, Host};
use super::*;
use crate::Problem;
use std::collections::BTreeMap;

/// A host with one bucket, in memory.
#[derive(Default)]
struct Fake {
    entries: BTreeMap<String, Entry>,
    once: Vec<String>,
    last: u64,
    reads: usize,
    commits: Vec<host::Transaction>,
    /// Others write these before a read, one each time.
    meanwhile: Vec<(&'static str, &'static str)>,
    /// The next commits fail so, after they were done or before.
    unknown: Vec<bool>,
}

impl Fake {
    fn write(&mut self, key: &str, value: &[u8]) {
        self.last += 1;
        let entry = Entry {
            value: value.to_vec(),
            version: self.last.to_string(),
        };
        self.entries.insert(key.to_owned(), entry);
    }

    fn text(&self, key: &str) -> Option<String> {
        let entry = self.entries.get(key)?;
        Some(String::from_utf8(entry.value.clone()).unwrap())
    }

    fn transact(&mut self, transaction: &host::Transaction) -> Result<host::Committed, Error> {
        let mut committed = host::Committed {
            version: self.last.to_string(),
            counters: Vec::new(),
            event_ids: Vec::new(),
            repeated: false,
        };
        if let Some(once) = &transaction.once
            && self.once.contains(once)
        {
            committed.repeated = true;
            return Ok(committed);
        }
        let fails = |check: &&Check| {
            let now = self.entries.get(&check.at.key);
            now.map(|entry| &entry.version) != check.version.as_ref()
        };
        let failed = transaction.checks.iter().filter(fails);
        let failed: Vec<Place> = failed.map(|check| check.at.clone()).collect();
        if !failed.is_empty() {
            return Err(Error::Conflict(failed));
        }
        for change in &transaction.changes {
            match change {
                Change::Set((at, value)) => self.write(&at.key, value),
                Change::Delete(at) => _ = self.entries.remove(&at.key),
                Change::Add((at, by)) => {
                    let now: i64 = self.text(&at.key).map_or(0, |text| text.parse().unwrap());
                    committed.counters.push(now + by);
                    self.write(&at.key, (now + by).to_string().as_bytes());
                }
            }
        }
        self.once.extend(transaction.once.clone());
        Ok(committed)
    }
}

impl Host for Fake {
    fn read(&mut self, places: &[Place]) -> Result<Vec<Option<Entry>>, Error> {
        self.reads += 1;
        let entries = places.iter().map(|at| self.entries.get(&at.key).cloned());
        let entries = entries.collect();
        if let Some((key, value)) = self.meanwhile.pop() {
            self.write(key, value.as_bytes());
        }
        Ok(entries)
    }

    fn commit(&mut self, transaction: &host::Transaction) -> Result<host::Committed, Error> {
        self.commits.push(transaction.clone());
        match self.unknown.pop() {
            None => self.transact(transaction),
            Some(done) => {
                if done {
                    self.transact(transaction)?;
                }
                Err(Error::Unknown("the disk failed".into()))
            }
        }
    }
}

fn at(key: &str) -> Place {
    Place {
        bucket: "b".into(),
        key: key.into(),
    }
}

fn number(tx: &mut Transaction<'_>, key: &str) -> Result<u64, TransactionError> {
    let bytes = tx.bytes_at(at(key))?;
    Ok(bytes.map_or(0, |it| String::from_utf8(it).unwrap().parse().unwrap()))
}

fn set(tx: &mut Transaction<'_>, key: &str, value: u64) {
    let change = Change::Set((at(key), value.to_string().into_bytes()));
    tx.changes.push(change);
}

#[test]
fn changed_reading_runs_the_transaction_again() {
    let mut fake = Fake {
        meanwhile: vec![("a", "7"), ("a", "5")],
        ..Fake::default()
    };
    let mut runs = 0;
    let done = run::run(&mut fake, |tx| {
        runs += 1;
        let now = number(tx, "a")?;
        set(tx, "a", now + 1);
        Ok(now)
    });
    assert_eq!((runs, done.unwrap().value), (3, Some(7)));
    assert_eq!(fake.text("a").as_deref(), Some("8"));
}

#[test]
fn crowd_at_a_key_ends_after_64_tries() {
    let mut fake = Fake {
        meanwhile: vec![("a", "5"); 100],
        ..Fake::default()
    };
    let done = run::run(&mut fake, |tx| {
        number(tx, "a")?;
        set(tx, "b", 1);
        Ok(())
    });
    assert!(matches!(
        done,
        Err(TransactionError::Store(StoreError::Contended { key })) if key == "a"
    ));
    assert_eq!(fake.commits.len(), 64);
}

#[test]
fn transaction_reads_what_it_has_written_and_each_key_once() {
    let mut fake = Fake::default();
    fake.write("a", b"1");
    fake.write("b", b"10");
    let done = run::run(&mut fake, |tx| {
        assert_eq!((number(tx, "a")?, number(tx, "a")?), (1, 1));
        set(tx, "a", 2);
        assert_eq!(number(tx, "a")?, 2);
        tx.changes.push(Change::Add((at("a"), 3)));
        tx.changes.push(Change::Add((at("b"), -4)));
        assert_eq!((number(tx, "a")?, number(tx, "b")?), (5, 6));
        tx.changes.push(Change::Delete(at("a")));
        assert_eq!(tx.bytes_at(at("a"))?, None);
        Ok(())
    });
    assert_eq!(done.unwrap().counters, [5, 6]);
    assert_eq!(fake.reads, 2);
    assert_eq!(fake.text("a"), None);
    let checked: Vec<_> = fake.commits[0]
        .checks
        .iter()
        .map(|it| it.at.key.as_str())
        .collect();
    assert_eq!(checked, ["a", "b"]);
}

#[test]
fn sum_of_a_value_that_is_no_number_is_refused() {
    let mut fake = Fake::default();
    fake.write("a", b"one");
    let done = run::run(&mut fake, |tx| {
        tx.changes.push(Change::Add((at("a"), 1)));
        tx.bytes_at(at("a"))
    });
    assert!(matches!(
        done,
        Err(TransactionError::Store(StoreError::Invalid(_)))
    ));
    assert!(fake.commits.is_empty());
}

#[test]
fn refusal_writes_nothing_and_stays_what_it_is() {
    let mut fake = Fake::default();
    let refused = run::run(&mut fake, |tx| {
        set(tx, "a", 1);
        Err::<(), _>(Problem::not_found().into())
    });
    assert_eq!(Problem::from(refused.unwrap_err()).status(), 404);
    assert!(fake.commits.is_empty() && fake.entries.is_empty());
}

#[test]
fn refusal_of_a_mixture_of_two_states_runs_again() {
    // Another instance moves 1 from 'a' to 'b' between the two reads.
    let mut fake = Fake::default();
    fake.write("a", b"1");
    let mut runs = 0;
    let done = run::run(&mut fake, |tx| {
        runs += 1;
        let a = number(tx, "a")?;
        if runs == 1 {
            // The fake is borrowed: written by the host itself.
            tx.host.commit(&host::Transaction {
                checks: Vec::new(),
                changes: vec![
                    Change::Set((at("a"), b"0".to_vec())),
                    Change::Set((at("b"), b"1".to_vec())),
                ],
                events: Vec::new(),
                cancel: Vec::new(),
                once: None,
            })?;
        }
        match a + number(tx, "b")? {
            1 => Ok(()),
            sum => Err(Problem::internal(format!("the sum is {sum}")).into()),
        }
    });
    assert!(done.is_ok());
    assert_eq!(runs, 2);
}

#[test]
fn repeated_transaction_has_no_value_also_where_it_refuses_its_own_effect() {
    let mut fake = Fake::default();
    let pay = |fake: &mut Fake| {
        run::run(fake, |tx| {
            tx.once("order-7")?;
            if number(tx, "paid")? == 1 {
                return Err(Problem::new(409, "already-paid", "it is paid").into());
            }
            set(tx, "paid", 1);
            Ok("paid")
        })
    };
    let first = pay(&mut fake).unwrap();
    assert_eq!((first.value, first.repeated()), (Some("paid"), false));
    let second = pay(&mut fake).unwrap();
    assert!(second.repeated());
    assert!(matches!(
        second.into_value(),
        Err(TransactionError::Repeated)
    ));
    // Without the key it is a refusal.
    fake.once.clear();
    let refused = pay(&mut fake).unwrap_err();
    assert_eq!(Problem::from(refused).status(), 409);
    assert_eq!(fake.text("paid").as_deref(), Some("1"));
}

#[test]
fn unknown_outcome_is_asked_again_only_with_a_once_key() {
    for (done, repeated) in [(true, true), (false, false)] {
        let mut fake = Fake {
            unknown: vec![done],
            ..Fake::default()
        };
        let outcome = run::run(&mut fake, |tx| {
            tx.once("o")?;
            tx.changes.push(Change::Add((at("n"), 1)));
            Ok(())
        });
        assert_eq!(outcome.unwrap().repeated(), repeated);
        assert_eq!(fake.text("n").as_deref(), Some("1"));
    }
    let mut fake = Fake {
        unknown: vec![true],
        ..Fake::default()
    };
    let outcome = run::run(&mut fake, |tx| {
        set(tx, "a", 1);
        Ok(())
    });
    assert!(matches!(outcome, Err(TransactionError::Unknown(_))));
    assert_eq!(fake.commits.len(), 1);
}

#[test]
fn one_reading_needs_no_commit_and_two_need_one() {
    let mut fake = Fake::default();
    run::run(&mut fake, |tx| number(tx, "a")).unwrap();
    assert!(fake.commits.is_empty());
    run::run(&mut fake, |tx| Ok(number(tx, "a")? + number(tx, "b")?)).unwrap();
    assert_eq!(fake.commits.len(), 1);
}

#[test]
fn second_once_key_and_timer_name_with_a_slash_are_refused() {
    let mut fake = Fake::default();
    let mut tx = Transaction::new(&mut fake);
    tx.once("a").unwrap();
    tx.once("a").unwrap();
    assert!(tx.once("b").is_err());
    assert_eq!(timer_key("remind", "a/b").unwrap(), "remind/a/b");
    assert!(tx.cancel("remind/a", "b").is_err());
}
