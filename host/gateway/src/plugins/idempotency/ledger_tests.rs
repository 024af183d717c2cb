use super::super::age::Boot;
use super::super::key::fingerprint;
use super::super::record::{State, StoredAnswer};
use super::*;
use crate::plugins::holder::Holder;
use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;

const FULL_BYTES: u64 = 1 << 30;

fn ledger() -> (tempfile::TempDir, Arc<Ledger>) {
    ledger_of(FULL_BYTES)
}

fn ledger_of(full_bytes: u64) -> (tempfile::TempDir, Arc<Ledger>) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path().join("idempotency.redb"), full_bytes).unwrap();
    (folder, Arc::new(ledger))
}

fn record(expires_ms: u64, state: State) -> Record {
    Record::new(
        fingerprint("POST", ("/", None), b"", b""),
        expires_ms,
        state,
    )
}

fn answer(bytes: usize) -> State {
    State::Answered(StoredAnswer {
        status: StatusCode::OK,
        fields: Vec::new(),
        body: Bytes::from(vec![b'x'; bytes]),
    })
}

fn user(name: &str) -> Owner {
    Owner::of(&Holder::User(name.into()))
}

fn address(number: u32) -> Owner {
    Owner::of(&Holder::Address(std::net::Ipv4Addr::from(number).into()))
}

fn name(scope: &str) -> Name<'_> {
    Name {
        scope,
        owner: address(1),
    }
}

fn idle(_: &str) -> bool {
    false
}

impl Ledger {
    /// What the sums say that a holder has, or all addresses.
    fn sum(&self, holder: &str) -> u64 {
        let entry = self.store.get(HOLDERS, holder).wait().unwrap();
        entry.as_ref().map_or(0, counter)
    }

    /// Begins and answers with so many bytes.
    async fn take(&self, name: Name<'_>, expires_ms: u64, bytes: usize) {
        let begun = record(expires_ms, State::Begun);
        let begun = self.begin(name, &begun, None).await.unwrap().unwrap();
        let answered = record(expires_ms, answer(bytes));
        self.finish(name, begun, &answered).await.unwrap();
    }
}

#[tokio::test]
async fn first_request_begins_and_the_second_finds_its_record() {
    let (_folder, ledger) = ledger();
    let begun = record(10, State::Begun);
    assert!(
        ledger
            .begin(name("k"), &begun, None)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        ledger
            .begin(name("k"), &begun, None)
            .await
            .unwrap()
            .is_none()
    );
    let found = ledger.get("k").await.unwrap().unwrap();
    assert_eq!(found.record, begun);
    // It has expired, and two see it.
    let anew = record(20, State::Begun);
    let again = ledger.begin(name("k"), &anew, Some(&found)).await.unwrap();
    let late = ledger.begin(name("k"), &anew, Some(&found)).await.unwrap();
    assert!(late.is_none());
    assert_eq!(ledger.keys(), (1, 1, 1));
    ledger.free(name("k"), again.unwrap()).await.unwrap();
    assert_eq!(ledger.keys(), (0, 0, 0));
    assert_eq!(ledger.sum(ADDRESSES), 0);
}

#[tokio::test]
async fn sweep_removes_only_expired_keys_a_bounded_number_at_a_time() {
    let (_folder, ledger) = ledger();
    let count = SWEEP_KEYS + 10;
    let mut first = None;
    for i in 0..count {
        let begun = record(10, State::Begun);
        let begun = ledger.begin(name(&format!("k{i}")), &begun, None).await;
        first = first.or(begun.unwrap());
    }
    // Answered later, so it holds longer than it was begun for.
    let later = record(30, State::NotKept);
    ledger
        .finish(name("k0"), first.unwrap(), &later)
        .await
        .unwrap();
    assert_eq!(ledger.sweep(9, None, idle).await.unwrap(), None);
    assert_eq!(ledger.keys(), (count, count, 1));
    assert!(ledger.sweep(10, None, idle).await.unwrap().is_some());
    assert_eq!(ledger.keys(), (10, 10, 1));
    assert_eq!(ledger.sweep(10, None, idle).await.unwrap(), None);
    assert_eq!(ledger.keys(), (1, 1, 1));
    assert_eq!(ledger.get("k0").await.unwrap().unwrap().record, later);
    assert_eq!(ledger.sweep(30, None, idle).await.unwrap(), None);
    assert_eq!(ledger.keys(), (0, 0, 0));
}

#[tokio::test]
async fn sweep_skips_running_keys_and_continues_after_them() {
    let (_folder, ledger) = ledger();
    let begun = record(10, State::Begun);
    for i in 0..SWEEP_KEYS + 10 {
        let scope = format!("k{i:04}");
        ledger.begin(name(&scope), &begun, None).await.unwrap();
    }
    let at_work = |scope: &str| scope < "k0256";
    let next = ledger.sweep(10, None, at_work).await.unwrap();
    assert!(next.is_some());
    assert_eq!(ledger.sweep(10, next, at_work).await.unwrap(), None);
    assert_eq!(ledger.keys(), (SWEEP_KEYS, SWEEP_KEYS, 1));
}

#[tokio::test]
async fn written_records_survive_reopening() {
    let (folder, ledger) = ledger();
    let begun = record(10, State::Begun);
    ledger.begin(name("k"), &begun, None).await.unwrap();
    let sums = [ledger.sum(&address(1).name()), ledger.sum(ADDRESSES)];
    ledger.close();
    let again = Ledger::open(folder.path().join("idempotency.redb"), FULL_BYTES).unwrap();
    assert_eq!(again.get("k").await.unwrap().unwrap().record, begun);
    assert!(sums[0] > 0 && sums[0] == sums[1]);
    assert_eq!(sums, [again.sum(&address(1).name()), again.sum(ADDRESSES)]);
}

#[tokio::test]
async fn clock_set_forward_across_a_restart_frees_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let moment = |wall_ms, boot: &str, uptime_ms| Moment {
        wall_ms,
        boot: Some(Boot {
            id: boot.into(),
            uptime_ms,
        }),
    };
    let open = |now: &Moment| {
        let path = folder.path().join("idempotency.redb");
        Ledger::open_at(path, FULL_BYTES, now).unwrap()
    };
    let (year_ms, hour_ms) = (365 * 24 * 3_600_000, 3_600_000);
    let first = moment(50 * year_ms, "a", 1_000);
    let ledger = open(&first);
    ledger.save_age_at(first).await.unwrap();
    let expires_ms = ledger.now_ms() + 24 * hour_ms;
    ledger.take(name("k"), expires_ms, 10).await;
    ledger.close();
    // The machine's clock goes wrong by ten years, with and without a restart of the machine.
    for after in [
        moment(60 * year_ms, "a", 2_000),
        moment(60 * year_ms, "b", 1_000),
        moment(40 * year_ms, "b", 1_000),
    ] {
        let ledger = Arc::new(open(&after));
        // Behind by what passed since its age was kept, at most.
        let left_ms = expires_ms - ledger.now_ms();
        let expected_ms = 23 * hour_ms..24 * hour_ms + 60_000;
        assert!(expected_ms.contains(&left_ms), "{left_ms}");
        ledger.sweep(ledger.now_ms(), None, idle).await.unwrap();
        assert!(ledger.get("k").await.unwrap().is_some());
        ledger.close();
    }
    let ledger = open(&moment(40 * year_ms, "a", 25 * hour_ms));
    assert!(expires_ms < ledger.now_ms(), "a day of uptime is a day");
}

#[tokio::test]
async fn holder_is_refused_beyond_its_share_while_others_are_admitted() {
    const FULL: u64 = 1_000_000;
    let (_folder, ledger) = ledger_of(FULL);
    let mut taken = 0;
    let mut fill = async |owner: Owner, bytes| {
        let mut keys = 0;
        while ledger.admit(owner).await.unwrap().is_ok() {
            let scope = format!("k{taken}");
            ledger
                .take(
                    Name {
                        scope: &scope,
                        owner,
                    },
                    10,
                    bytes,
                )
                .await;
            (taken, keys) = (taken + 1, keys + 1);
        }
        keys
    };
    let mallory = user("mallory");
    assert!(fill(mallory, 10_000).await > 10);
    assert_eq!(ledger.admit(mallory).await.unwrap(), Err(Whose::Caller));
    let held = ledger.sum(&mallory.name());
    assert!((FULL / 5..FULL / 4).contains(&held), "a fifth: {held}");
    // Others too, each a little less; somebody who holds nothing always finds room.
    for other in 0..12 {
        assert!(fill(user(&format!("greedy-{other}")), 10_000).await > 0);
    }
    assert_eq!(ledger.admit(user("bob")).await.unwrap(), Ok(()));
    // When its keys have expired it may again.
    ledger.sweep(10, None, idle).await.unwrap();
    assert_eq!(ledger.sum(&mallory.name()), 0);
    assert_eq!(ledger.admit(mallory).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn addresses_leave_half_the_file_to_identified_callers() {
    let (_folder, ledger) = ledger_of(100_000);
    let mut number = 0;
    while ledger.admit(address(number)).await.unwrap().is_ok() {
        let scope = format!("k{number}");
        let owner = address(number);
        ledger
            .take(
                Name {
                    scope: &scope,
                    owner,
                },
                10,
                2_000,
            )
            .await;
        number += 1;
    }
    assert_eq!(
        ledger.admit(address(number)).await.unwrap(),
        Err(Whose::Host)
    );
    let all = ledger.sum(ADDRESSES);
    assert!((50_000..55_000).contains(&all), "{all}");
    assert_eq!(ledger.admit(user("bob")).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn counters_of_holders_without_keys_are_removed() {
    let (_folder, ledger) = ledger();
    ledger.take(name("k"), 10, 10).await;
    let zero = Op::Increment {
        bucket: HOLDERS.into(),
        key: user("gone").name(),
        delta: 0,
    };
    ledger.store.write(vec![zero]).await.unwrap();
    assert_eq!(ledger.keys().2, 2);
    assert_eq!(ledger.tidy_some(None).await.unwrap(), None);
    assert_eq!(ledger.keys().2, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever is done with keys, the sums are what is there.
    #[test]
    fn sums_of_holders_match_their_keys(
        steps in prop::collection::vec((0_u8..5, 0_usize..6, 0_u32..3, 1_u64..50), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (_folder, ledger) = ledger();
        let holder = |number| if number == 0 { user("alice") } else { address(number) };
        runtime.block_on(async {
            let mut begun = std::collections::HashMap::new();
            for (act, key, number, time) in steps {
                let scope = format!("{key}-{number}");
                let name = Name { scope: &scope, owner: holder(number) };
                match act {
                    0 | 1 => {
                        let found = ledger.get(&scope).await.unwrap();
                        let first = record(time, State::Begun);
                        if !begun.contains_key(&scope)
                            && let Some(now) = ledger.begin(name, &first, found.as_ref()).await.unwrap()
                        {
                            begun.insert(scope.clone(), now);
                        }
                    }
                    2 => {
                        if let Some(now) = begun.remove(&scope) {
                            let answered = record(time, answer(key * 100));
                            ledger.finish(name, now, &answered).await.unwrap();
                        }
                    }
                    3 => {
                        if let Some(now) = begun.remove(&scope) {
                            ledger.free(name, now).await.unwrap();
                        }
                    }
                    _ => {
                        let at_work = |scope: &str| begun.contains_key(scope);
                        ledger.sweep(time, None, at_work).await.unwrap();
                    }
                }
            }
        });
        let (mut sums, mut of_addresses) = (std::collections::HashMap::new(), 0);
        let places = ledger.store.keys(EXPIRY, None, 0, 1000).wait().unwrap().keys;
        prop_assert_eq!(places.len(), ledger.keys().0);
        for place in places {
            let entry = ledger.store.get(EXPIRY, &place).wait().unwrap().unwrap();
            let (owner, bytes) = read_charge(&entry.value).unwrap();
            let (_, scope) = read_place(&place).unwrap();
            let record = ledger.store.get(RECORDS, scope).wait().unwrap().unwrap();
            prop_assert_eq!(bytes, key_bytes(scope, &record.value));
            *sums.entry(owner).or_insert(0) += bytes;
            of_addresses += if owner.is_address { bytes } else { 0 };
        }
        prop_assert_eq!(ledger.sum(ADDRESSES), of_addresses);
        prop_assert_eq!(ledger.keys().2, sums.len());
        for (owner, sum) in sums {
            prop_assert_eq!(ledger.sum(&owner.name()), sum);
        }
    }
}
