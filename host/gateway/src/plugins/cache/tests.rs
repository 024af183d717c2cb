//! Which answers are stored, who finds them, and for how long. Time is paused.

use super::plan::{Circumstances, Plan};
use super::stored::{Arrival, Stored};
use super::*;
use crate::metrics::GatewayMetrics;
use crate::upstream::Source;
use hms_core::call::Edition;
use http::header;
use proptest::prelude::*;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn at(seconds: u64) -> String {
    httpdate::fmt_http_date(NOW + Duration::from_secs(seconds))
}

fn circumstances(says_who: bool) -> Circumstances {
    Circumstances {
        says_who,
        now: NOW + Duration::from_secs(1000),
        took: Duration::ZERO,
    }
}

fn plan(says_who: bool, headers: &HeaderMap) -> Option<Plan> {
    Plan::of(StatusCode::OK, headers, &circumstances(says_who))
}

/// How long an answer with these fields is fresh, and how old it comes, in seconds.
fn times(given: &[(&'static str, &str)]) -> Option<(u64, u64)> {
    let plan = plan(false, &fields(given))?;
    Some((plan.lifetime.as_secs(), plan.age.as_secs()))
}

#[test]
fn lifetime_and_age_follow_rfc_9111() {
    let (date, expires, old) = (&*at(1000), &*at(1060), &*at(970));
    for (given, expected) in [
        (&[("cache-control", "max-age=60")][..], Some((60, 0))),
        (
            &[("cache-control", "max-age=60, s-maxage=90")],
            Some((90, 0)),
        ),
        (&[("cache-control", "max-age=60, s-maxage=x")], None),
        (&[("cache-control", "max-age=60, s-maxage=0")], None),
        (&[("expires", expires)], Some((60, 0))),
        (&[("expires", expires), ("date", date)], Some((60, 0))),
        (&[("expires", expires), ("date", old)], Some((90, 30))),
        (&[("expires", expires), ("date", "soon")], None),
        (&[("expires", "0")], None),
        (
            &[("cache-control", "max-age=60"), ("age", "59")],
            Some((60, 59)),
        ),
        (
            &[("cache-control", "max-age=60"), ("age", "4294967296")],
            None,
        ),
        (
            &[("cache-control", "max-age=60"), ("age", "soon")],
            Some((60, 0)),
        ),
        (
            &[
                ("cache-control", "max-age=60"),
                ("date", old),
                ("date", old),
            ],
            None,
        ),
        (&[("expires", expires), ("expires", expires)], None),
        (
            &[("expires", expires), ("cache-control", "max-age=5")],
            Some((5, 0)),
        ),
        (
            &[("expires", expires), ("hms-cache-control", "public")],
            None,
        ),
        (
            &[("cache-control", "max-age=60"), ("age", "59")],
            Some((60, 59)),
        ),
        (&[("cache-control", "max-age=60"), ("age", "60")], None),
        (
            &[("cache-control", "max-age=60"), ("age", "20, 70")],
            Some((60, 20)),
        ),
        (
            &[("cache-control", "max-age=60"), ("date", old)],
            Some((60, 30)),
        ),
        (
            &[
                ("cache-control", "max-age=60"),
                ("date", old),
                ("age", "40"),
            ],
            Some((60, 40)),
        ),
        (&[("date", date)], None),
    ] {
        assert_eq!(times(given), expected, "{given:?}");
    }
    let slow = Circumstances {
        took: Duration::from_secs(7),
        ..circumstances(false)
    };
    let headers = fields(&[("cache-control", "max-age=60"), ("age", "20")]);
    let plan = Plan::of(StatusCode::OK, &headers, &slow).unwrap();
    assert_eq!(plan.age.as_secs(), 27);
}

#[test]
fn fields_that_cannot_be_compared_here_make_no_variants() {
    let vary = |value: &str| {
        let headers = fields(&[("cache-control", "max-age=60"), ("vary", value)]);
        let plan = plan(false, &headers)?;
        Some(
            plan.vary
                .iter()
                .map(HeaderName::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    for (value, expected) in [
        (
            "Accept-Language, accept-encoding",
            Some("accept-encoding accept-language"),
        ),
        ("x-a,, X-A", Some("x-a")),
        ("host", Some("")),
        (
            "x-hms-user, x-forwarded-for",
            Some("x-forwarded-for x-hms-user"),
        ),
        ("*", None),
        ("x-a, *", None),
        ("not a name", None),
        ("x-request-id", None),
        ("traceparent", None),
        ("te", None),
        ("connection", None),
        (
            "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p",
            Some("a b c d e f g h i j k l m n o p"),
        ),
        ("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", None),
    ] {
        assert_eq!(vary(value).as_deref(), expected, "{value}");
    }
}

proptest! {
    /// Whatever an answer says, in whichever combination.
    #[test]
    fn answer_is_stored_for_callers_only_if_it_says_so_and_never_if_it_forbids_it(
        general in directives(),
        targeted in prop::option::of(directives()),
        cookie in prop::bool::weighted(0.1),
        says_who in any::<bool>(),
        status in prop_oneof![4 => Just(200_u16), 1 => 200_u16..600],
    ) {
        let mut headers = fields(&[("cache-control", &general.join(", "))]);
        if let Some(targeted) = &targeted {
            headers.insert("hms-cache-control", targeted.join(", ").parse().unwrap());
        }
        if cookie {
            headers.insert(header::SET_COOKIE, "a=b".parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let counts = targeted.filter(|list| !list.is_empty()).unwrap_or(general);
        let says = |words: &[&str]| words.iter().any(|word| counts.iter().any(|it| it == word));
        let opens = says(&["public", "must-revalidate", "s-maxage=50"]);
        let fresh = says(&["max-age=100", "s-maxage=50"]);
        let forbids = says(&["no-store", "private", "no-cache"]);
        let usual = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
        let expected = fresh && !forbids && !cookie && (opens || !says_who)
            && usual.contains(&status.as_u16());
        let plan = Plan::of(status, &headers, &circumstances(says_who));
        prop_assert_eq!(plan.is_some(), expected, "{:?}", counts);
        prop_assert!(plan.is_none_or(|plan| plan.open == opens));
    }
}

fn directives() -> impl Strategy<Value = Vec<String>> {
    let all = vec![
        "public",
        "must-revalidate",
        "max-age=100",
        "s-maxage=50",
        "no-store",
        "private",
        "no-cache",
        "immutable",
        "x=1",
    ];
    let chosen = prop::sample::subsequence(all, 0..5).prop_shuffle();
    chosen.prop_map(|list| list.into_iter().map(str::to_owned).collect())
}

const EDITION: Source = Source::Edition(Edition {
    release: 1,
    grants: 0,
});

/// A memory, and the keys of its requests.
struct Fixture {
    memory: Arc<Memory>,
}

impl Fixture {
    fn new(bytes: u64) -> Fixture {
        Fixture {
            memory: Arc::new(Memory::new(bytes, &GatewayMetrics::new())),
        }
    }

    fn mark(&self) -> Mark {
        self.memory.mark("/a")
    }

    /// Stores an answer to a request for `path` with the fields `seen`.
    fn put(&self, path: &str, seen: &HeaderMap, answer: &HeaderMap, body: &str) {
        let from = Arrival {
            source: EDITION,
            release: Some(1),
            mark: self.mark(),
            came: Instant::now(),
            now: NOW,
        };
        let plan = plan(false, answer).unwrap();
        let vary = plan.vary.clone();
        let stored = Stored::new(StatusCode::OK, answer, body.into(), plan, from);
        self.memory.put(key(path), &vary, seen, stored);
    }

    fn find(&self, path: &str, headers: &HeaderMap) -> Lookup {
        self.memory
            .find(&key(path), headers, |_| true, Instant::now())
    }

    async fn body(&self, path: &str, headers: &HeaderMap) -> Option<String> {
        let Lookup::Fresh(stored) = self.find(path, headers) else {
            return None;
        };
        let body = stored.answer(headers, Instant::now()).into_body();
        let bytes = http_body_util::BodyExt::collect(body)
            .await
            .unwrap()
            .to_bytes();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }
}

fn key(path: &str) -> Key {
    let mut request = Request::new(());
    *request.uri_mut() = path.parse().unwrap();
    Key::of(1, &crate::request::target::Target::default(), &request)
}

fn fresh(vary: &str) -> HeaderMap {
    fields(&[("cache-control", "max-age=60"), ("vary", vary)])
}

#[tokio::test(start_paused = true)]
async fn answer_is_found_while_it_is_fresh_and_its_age_grows() {
    let fixture = Fixture::new(1 << 20);
    let none = HeaderMap::new();
    let answer = fields(&[("cache-control", "max-age=60"), ("age", "20")]);
    fixture.put("/a", &none, &answer, "one");
    for (wait, age) in [(0, "20"), (30, "50"), (9, "59")] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        let Lookup::Fresh(stored) = fixture.find("/a", &none) else {
            panic!("nothing at {age} s");
        };
        let answer = stored.answer(&none, Instant::now());
        assert_eq!(answer.headers()[header::AGE], age);
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(matches!(fixture.find("/a", &none), Lookup::Stale));
    fixture.put("/a", &none, &fresh(""), "two");
    assert_eq!(fixture.body("/a", &none).await.as_deref(), Some("two"));
    assert!(matches!(fixture.find("/b", &none), Lookup::Nothing));
}

#[tokio::test]
async fn changed_address_has_no_answer_that_was_asked_for_before() {
    let fixture = Fixture::new(1 << 20);
    let none = HeaderMap::new();
    fixture.put("/a", &none, &fresh(""), "one");
    let before = fixture.mark();
    fixture.memory.changed(before);
    assert!(!fixture.memory.holds(before));
    assert_eq!(fixture.body("/a", &none).await, None);
    fixture.put("/a", &none, &fresh(""), "two");
    assert_eq!(fixture.body("/a", &none).await.as_deref(), Some("two"));
}

#[test]
fn answers_that_are_not_complete_have_a_part_of_the_memory() {
    let fixture = Fixture::new(1 << 20);
    let (mut one, mut other) = (fixture.memory.hold(), fixture.memory.hold());
    assert!(one.grow_to(200_000) && !other.grow_to(100_000));
    assert_eq!(fixture.memory.size().0, 300_000);
    drop(other);
    assert!(one.grow_to(256 << 10) && !one.grow_to((256 << 10) + 1));
    drop(one);
    assert_eq!(fixture.memory.size().0, 0);
    assert!(!Fixture::new(0).memory.is_on());
}

/// One of three values of each field, or none.
fn request() -> impl Strategy<Value = (&'static str, [Option<u8>; 3])> {
    let path = prop::sample::select(vec!["/a", "/a?b", "/c"]);
    (path, prop::array::uniform3(prop::option::of(0..3_u8)))
}

fn seen(values: &[Option<u8>; 3]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in ["x-a", "x-b", "x-c"].into_iter().zip(values) {
        if let Some(value) = value {
            headers.insert(name, value.to_string().parse().unwrap());
        }
    }
    headers
}

/// The `Vary` of an answer, which an upstream may change at any time.
fn vary() -> impl Strategy<Value = String> {
    let names = prop::sample::subsequence(vec!["x-a", "X-B", "x-c"], 0..=3);
    names.prop_map(|names| names.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each body says for which request it was made. Whatever is found must be equal in every field
    /// that its answer depends on.
    #[test]
    fn answer_is_never_given_to_a_request_that_its_vary_tells_apart(
        steps in prop::collection::vec((request(), vary()), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(1 << 20);
            let mut made: Vec<(&str, [Option<u8>; 3], String)> = Vec::new();
            for ((path, values), vary) in steps {
                let headers = seen(&values);
                if let Some(found) = fixture.body(path, &headers).await {
                    let (of_path, of_values, of_vary) = &made[found.parse::<usize>().unwrap()];
                    assert_eq!(*of_path, path);
                    for (at, name) in ["x-a", "X-B", "x-c"].into_iter().enumerate() {
                        assert!(!of_vary.contains(name) || of_values[at] == values[at]);
                    }
                }
                fixture.put(path, &headers, &fresh(&vary), &made.len().to_string());
                made.push((path, values, vary));
                // The last answer is the one that is found.
                let last = (made.len() - 1).to_string();
                assert_eq!(fixture.body(path, &headers).await, Some(last));
            }
        });
    }

    /// By what is found, and not by what it is said to weigh.
    #[test]
    fn stored_answers_stay_within_the_memory(
        sizes in prop::collection::vec((0..60_000_usize, 0..200_u32), 100),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(256 << 10);
            let none = HeaderMap::new();
            for (size, path) in &sizes {
                let path = format!("/{path}");
                fixture.put(&path, &none, &fresh(""), &"x".repeat(*size));
                assert!(fixture.memory.size().0 <= 192 << 10);
            }
            let mut bytes = 0;
            for path in 0..200 {
                let body = fixture.body(&format!("/{path}"), &none).await;
                bytes += body.map_or(0, |body| body.len());
            }
            assert!(bytes <= 192 << 10, "{bytes}");
        });
    }
}

#[test]
fn change_counts_unless_the_upstream_has_refused_it() {
    let fixture = Fixture::new(1 << 20);
    let begin = || Change {
        memory: fixture.memory.clone(),
        mark: Some(fixture.mark()),
    };
    let before = fixture.mark();
    begin().refused();
    assert!(fixture.memory.holds(before));
    // Its client has left, or it failed on the way.
    drop(begin());
    assert!(!fixture.memory.holds(before));
}
