//! Row 13: windows that call services and other windows.

use super::{Settings, guarded};
use crate::ours::Ours;
use crate::peers::Nginx;
use crate::table::Row;
use anyhow::ensure;
use hms_harness::grants::Grants;
use hms_harness::guests;
use hms_harness::pairs::{Pairs, median};
use hms_harness::process::cpu;
use hms_harness::wrk::{Figure, Load};

/// The windows that call: the same component, with what each is granted.
const CALLERS: [&str; 4] = ["plain", "injecting", "inside", "outside"];

/// More than the connections of the load: no call waits for a place.
const CALLS: &str = "128";

pub async fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let service = Nginx::start(
        "",
        "keepalive_requests 10000000; location / { return 200 'hello\\n'; }",
    )?;
    let (caller, hello) = (
        guests::path("caller").await,
        guests::path("hello-wasip3").await,
    );
    // A host does not let its windows call its own gateway: the way by loopback leads to another.
    let open = "uri: /hello\nupstream: http://hms-svc-hello\n";
    let other = Ours::start(&[("hello", open.into())], &[])?;
    other.deploy("hello", &hello)?;
    other.hms(&["limits", "hello", "--reuse", "1"])?;

    let grants = Grants::new();
    grants.secret("key", "a-key-of-32-bytes-as-they-are-now");
    let to = |url: &str| format!("outbound:\n  - to: {url}\n    private: [127.0.0.0/8]\n");
    let injected = format!(
        "{}    inject: {{authorization: \"Bearer {{key}}\"}}\nsecrets: {{key: {{file: secrets/key}}}}\n",
        to(&service.url)
    );
    grants.write("plain", &to(&service.url));
    grants.write("injecting", &injected);
    grants.write("inside", "calls: [hello]\n");
    grants.write("outside", &to(&other.url("")));

    let mut routes = vec![("service", guarded("/service", &service.url))];
    routes.extend(CALLERS.map(|name| {
        let upstream = format!("http://hms-svc-{name}");
        let route = guarded(&format!("/{name}/**"), &upstream);
        (name, format!("{route}strip-prefix: /{name}\n"))
    }));
    let mut args = grants.args();
    args.extend(["--upstream-allow".into(), "127.0.0.1".into()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ours = Ours::start(&routes, &args)?;
    ours.deploy("hello", &hello)?;
    ours.hms(&["limits", "hello", "--reuse", "1"])?;
    for name in CALLERS {
        ours.deploy(name, &caller)?;
        ours.hms(&["limits", name, "--reuse", "1", "--outgoing-calls", CALLS])?;
    }

    let compared = Compared {
        settings,
        bearer: ours.bearer(&[])?,
        hosts: [&ours, &other],
    };
    let get = |window: &str, url: &str| format!("/{window}/get?{url}");
    let to_service = format!("{}/", service.url);
    let (plain, injecting) = (get("plain", &to_service), get("injecting", &to_service));
    let inside = get("inside", "http://hms-svc-hello/hello");
    let outside = get("outside", &other.url("/hello"));
    Ok(vec![
        compared.row(
            "13a",
            [
                "a window calls a service on loopback",
                "the service by a route, no window",
            ],
            [&plain, "/service"],
        )?,
        compared.row(
            "13b",
            [
                "a window calls a window",
                "the same by loopback, through the gateway of another host",
            ],
            [&inside, &outside],
        )?,
        compared.row(
            "13c",
            ["row 13a, with a secret injected", "row 13a"],
            [&injecting, &plain],
        )?,
    ])
}

/// What is the same for all rows.
struct Compared<'a> {
    settings: &'a Settings,
    bearer: String,
    hosts: [&'a Ours; 2],
}

impl Compared<'_> {
    fn row(
        &self,
        number: &'static str,
        [work, baseline]: [&str; 2],
        [ours, theirs]: [&str; 2],
    ) -> anyhow::Result<Row> {
        let (mut our_cpu, mut their_cpu) = (Vec::new(), Vec::new());
        let pairs = Pairs::take(
            self.settings.pairs,
            || self.figure(ours, &mut our_cpu),
            || self.figure(theirs, &mut their_cpu),
        )?;
        let mut row = Row::of_pairs(number, work, baseline, None, &pairs);
        row.also = Some((
            format!(
                "{:.0} / {:.0} µs of processor time",
                median(our_cpu.into_iter()),
                median(their_cpu.into_iter())
            ),
            true,
        ));
        Ok(row)
    }

    /// And the processor time that all hosts took for a request, in microseconds.
    fn figure(&self, path: &str, used: &mut Vec<f64>) -> anyhow::Result<Figure> {
        let of_hosts = || -> f64 { self.hosts.iter().map(|host| cpu(host.id()).own).sum() };
        let before = of_hosts();
        let figure = Load::get(self.hosts[0].url(path))
            .header("authorization", &self.bearer)
            .run(self.settings.time)?;
        // A refusal is quicker than an answer.
        ensure!(figure.failed == 0, "{path}: {} failed", figure.failed);
        let requests = figure.per_second * self.settings.time.as_secs_f64();
        used.push((of_hosts() - before) / requests * 1e6);
        Ok(figure)
    }
}
