use super::*;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(10);

fn limit(most: usize, share: usize, least_idle: Duration) -> (ConnectionLimit, ConnectionCounters) {
    let counters = ConnectionCounters::default();
    let limit = ConnectionLimit::with(most, share, counters.clone(), least_idle);
    (limit, counters)
}

fn address(text: &str) -> Holder {
    Holder::of(text.parse().unwrap())
}

/// Takes one at once, or not at all.
async fn take(limit: &ConnectionLimit, holder: &str) -> Option<ConnectionPermit> {
    let taking = limit.take(address(holder));
    tokio::time::timeout(PATIENCE, taking)
        .await
        .expect("it waits")
}

/// Whether the connection has been told to go.
fn goes(permit: &ConnectionPermit) -> bool {
    permit.entry.leaving.load(Relaxed)
}

/// What a connection's task does: it ends when it is told to.
fn serve(permit: ConnectionPermit) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { permit.evicted().await })
}

#[test]
fn holder_is_an_ipv4_address_or_the_first_half_of_an_ipv6_address() {
    assert_eq!(address("192.0.2.1"), address("::ffff:192.0.2.1"));
    assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:0:1:2"));
    assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
}

#[tokio::test]
async fn address_over_its_share_loses_its_own_idle_connection_or_is_refused() {
    let (limit, counters) = limit(100, 3, Duration::ZERO);
    let first = take(&limit, "192.0.2.1").await.unwrap();
    let busy = take(&limit, "192.0.2.1").await.unwrap();
    let last = take(&limit, "192.0.2.1").await.unwrap();
    let other = take(&limit, "192.0.2.9").await.unwrap();
    let _at_work = busy.activity().begin();

    let newcomer = take(&limit, "192.0.2.1").await.unwrap();
    assert!(goes(&first) && !goes(&busy) && !goes(&last) && !goes(&other));
    // It counts no longer, although it is not gone yet.
    let _both = (last.activity().begin(), newcomer.activity().begin());
    assert!(take(&limit, "192.0.2.1").await.is_none());
    assert_eq!((counters.evicted.get(), counters.refused.get()), (1, 1));
    assert!(take(&limit, "192.0.2.2").await.is_some());
    drop((first, busy, last));
    assert!(take(&limit, "192.0.2.1").await.is_some());
}

#[tokio::test]
async fn full_limit_evicts_the_longest_idle_connection_of_the_largest_holder() {
    let (limit, counters) = limit(5, 5, Duration::from_secs(3600));
    let old = take(&limit, "192.0.2.1").await.unwrap();
    let mut many = Vec::new();
    for _ in 0..4 {
        many.push(take(&limit, "192.0.2.2").await.unwrap());
    }
    // It was idle longest until now.
    drop(many[0].activity().begin());
    let _at_work = many[1].activity().begin();
    let taking = tokio::spawn({
        let limit = limit.clone();
        async move { limit.take(address("192.0.2.3")).await }
    });
    tokio::time::timeout(PATIENCE, many[2].evicted())
        .await
        .unwrap();
    assert!(!goes(&old) && !goes(&many[0]) && !goes(&many[1]) && !goes(&many[3]));
    assert!(!taking.is_finished(), "the permit is not free yet");
    drop(many.remove(2));
    let taken = tokio::time::timeout(PATIENCE, taking)
        .await
        .unwrap()
        .unwrap();
    assert!(taken.is_some());
    assert_eq!((counters.full.get(), counters.evicted.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn single_connection_addresses_leave_each_other_time_to_use_theirs() {
    let least_idle = Duration::from_millis(300);
    let (limit, _) = limit(2, 2, least_idle);
    let begun = Instant::now();
    for holder in ["192.0.2.1", "192.0.2.2"] {
        serve(take(&limit, holder).await.unwrap());
    }
    assert!(take(&limit, "192.0.2.3").await.is_some());
    assert!(begun.elapsed() >= least_idle, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn occasional_requests_on_all_connections_keep_no_others_out() {
    // Never idle as long as others are left alone.
    let (limit, _) = limit(8, 8, Duration::from_secs(3600));
    for _ in 0..8 {
        serve(take(&limit, "192.0.2.1").await.unwrap());
    }
    for host in 2..6 {
        let permit = take(&limit, &format!("192.0.2.{host}")).await.unwrap();
        std::mem::forget(permit.activity().begin());
        serve(permit);
    }
}

#[tokio::test(start_paused = true)]
async fn connection_with_a_request_is_waited_for() {
    let (limit, counters) = limit(1, 1000, Duration::ZERO);
    let only = take(&limit, "192.0.2.1").await.unwrap();
    let at_work = only.activity().begin();
    let mut taking = std::pin::pin!(limit.take(address("192.0.2.2")));
    let early = tokio::time::timeout(Duration::from_millis(150), &mut taking).await;
    assert!(early.is_err() && !goes(&only));
    drop(at_work);
    serve(only);
    let taken = tokio::time::timeout(PATIENCE, taking).await;
    assert!(taken.unwrap().is_some());
    assert_eq!(counters.full.get(), 1, "one newcomer counts once");
}

#[tokio::test]
async fn proxy_has_no_share_and_goes_last_and_its_clients_have_their_own() {
    let (limit, counters) = limit(4, 2, Duration::ZERO);
    let mut through = Vec::new();
    for _ in 0..3 {
        through.push(limit.take(Holder::Proxy).await.unwrap());
    }
    let client = take(&limit, "192.0.2.1").await.unwrap();
    let newcomer = tokio::spawn({
        let limit = limit.clone();
        async move { limit.take(Holder::Proxy).await }
    });
    tokio::time::timeout(PATIENCE, client.evicted())
        .await
        .unwrap();
    assert!(!through.iter().any(goes));
    drop(client);
    let newcomer = newcomer.await.unwrap().unwrap();

    let told = address("192.0.2.7");
    let works = |permit: &ConnectionPermit| std::mem::forget(permit.activity().begin());
    for permit in &mut through[..2] {
        assert!(permit.belongs_to(told));
        works(permit);
    }
    assert!(!through[2].belongs_to(told), "both of his are at work");
    assert!(through[2].belongs_to(address("192.0.2.8")));
    assert_eq!(counters.refused.get(), 1);
    drop((through, newcomer));
    let book = limit.book();
    assert_eq!((book.taken, book.leaving, book.holders.len()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn permits_never_exceed_the_limit_whatever_comes_and_goes() {
    let (limit, _) = limit(20, 8, Duration::ZERO);
    let mut connections = Vec::new();
    for number in 0..3000_u32 {
        let holder = address(&format!("192.0.2.{}", number % 7));
        let Some(permit) = limit.take(holder).await else {
            continue;
        };
        let taken = limit.book().taken;
        assert!(taken <= 20, "{taken}");
        connections.push(tokio::spawn(async move {
            let requests = async {
                for _ in 0..number % 5 {
                    let Some(at_work) = permit.activity().begin() else {
                        return;
                    };
                    tokio::task::yield_now().await;
                    assert!(!goes(&permit), "given up with a request at work");
                    drop(at_work);
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                () = requests => {}
                () = permit.evicted() => {}
            }
        }));
    }
    for connection in connections {
        connection.await.unwrap();
    }
    let book = limit.book();
    assert_eq!((book.taken, book.leaving, book.holders.len()), (0, 0, 0));
}
