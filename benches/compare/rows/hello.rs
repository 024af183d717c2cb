//! Rows 1 to 4: a hello, through the whole gateway, against those that do less on the way.

use super::{Settings, guarded};
use crate::ours::Ours;
use crate::peers::{Express, Wasi, Wasmtime, Workerd};
use crate::table::Row;
use hms_harness::guests;
use hms_harness::pairs::Pairs;
use hms_harness::wrk::Load;
use std::path::PathBuf;

/// The two hellos, of WASI 0.2 and of WASI 0.3.
pub struct Guests {
    pub p2: PathBuf,
    pub p3: PathBuf,
}

impl Guests {
    pub async fn build() -> Guests {
        Guests {
            p2: guests::path("hello-wstd").await,
            p3: guests::path("hello-wasip3").await,
        }
    }
}

/// A host with both hellos behind guarded routes, and what asks one of them.
pub struct Hello {
    pub host: Ours,
    bearer: String,
}

impl Hello {
    pub fn start(guests: &Guests, reuse: u32) -> anyhow::Result<Hello> {
        let routes = [
            ("p2", guarded("/p2", "http://hms-svc-p2")),
            ("p3", guarded("/p3", "http://hms-svc-p3")),
        ];
        let host = Ours::start(&routes, &[])?;
        for (name, component) in [("p2", &guests.p2), ("p3", &guests.p3)] {
            host.deploy(name, component)?;
            host.hms(&["limits", name, "--reuse", &reuse.to_string()])?;
        }
        let bearer = host.bearer(&[])?;
        Ok(Hello { host, bearer })
    }

    pub fn load(&self, name: &str) -> Load {
        Load::get(self.host.url(&format!("/{name}"))).header("authorization", &self.bearer)
    }
}

const ONCE: [&str; 2] = ["--max-instance-reuse-count", "1"];

/// What makes `wasmtime serve` quick at that: its own pool, the kernel's list of written pages,
/// memory kept.
const TUNED: [&str; 7] = [
    ONCE[0],
    ONCE[1],
    "-Opooling-allocator",
    "-Opooling-pagemap-scan=y",
    "-Opooling-memory-keep-resident=1048576",
    "-Opooling-table-keep-resident=65536",
    "-Opooling-async-stack-keep-resident=65536",
];

/// A fresh instance for each request, against `wasmtime serve` that does the same.
pub fn fresh(settings: &Settings, guests: &Guests) -> anyhow::Result<Vec<Row>> {
    let ours = Hello::start(guests, 1)?;
    let mut rows = Vec::new();
    let (reuse_1, tuned) = ("wasmtime serve, reuse 1", "the same, tuned by its options");
    for (number, name, component, wasi, baseline, flags, mark) in [
        (
            "1a",
            "p2",
            &guests.p2,
            Wasi::P2,
            reuse_1,
            &ONCE[..],
            Some(3.0),
        ),
        (
            "1b",
            "p3",
            &guests.p3,
            Wasi::P3,
            reuse_1,
            &ONCE[..],
            Some(3.0),
        ),
        ("1c", "p3", &guests.p3, Wasi::P3, tuned, &TUNED[..], None),
    ] {
        let theirs = Wasmtime::start(&settings.wasmtime, component, wasi, flags)?;
        let pairs = Pairs::take(
            settings.pairs,
            || ours.load(name).run(settings.time),
            || Load::get(theirs.url.clone()).run(settings.time),
        )?;
        let work = match wasi {
            Wasi::P2 => "hello through the gateway, fresh instance, WASI 0.2",
            Wasi::P3 => "hello through the gateway, fresh instance, WASI 0.3",
        };
        let mut row = Row::of_pairs(number, work, baseline, mark, &pairs);
        let p99 = pairs.ratio(|figure| figure.p99_ms);
        row.also = Some((
            format!("p99 {p99:.2} of theirs"),
            p99 <= 1.0 || mark.is_none(),
        ));
        rows.push(row);
    }
    Ok(rows)
}

/// Instances that stay, against the same.
pub fn reused(settings: &Settings, guests: &Guests) -> anyhow::Result<Row> {
    let ours = Hello::start(guests, 128)?;
    let theirs = Wasmtime::start(&settings.wasmtime, &guests.p3, Wasi::P3, &[])?;
    let pairs = Pairs::take(
        settings.pairs,
        || ours.load("p3").run(settings.time),
        || Load::get(theirs.url.clone()).run(settings.time),
    )?;
    let work = "hello through the gateway, reuse 128, WASI 0.3";
    Ok(Row::of_pairs(
        "2",
        work,
        "wasmtime serve, its reuse of 128",
        Some(1.0),
        &pairs,
    ))
}

pub fn workerd(settings: &Settings, guests: &Guests) -> anyhow::Result<Row> {
    let (ours, theirs) = (Hello::start(guests, 1)?, Workerd::start()?);
    let pairs = Pairs::take(
        settings.pairs,
        || ours.load("p3").run(settings.time),
        || Load::get(theirs.url.clone()).run(settings.time),
    )?;
    Ok(Row::of_pairs(
        "3",
        "row 1b",
        "workerd, no gateway",
        Some(1.2),
        &pairs,
    ))
}

pub fn express(settings: &Settings, guests: &Guests) -> anyhow::Result<Row> {
    let ours = Hello::start(guests, 1)?;
    let theirs = Express::start(&ours.host.secret()?)?;
    let bearer = ours.host.bearer(&[])?;
    let pairs = Pairs::take(
        settings.pairs,
        || ours.load("p3").run(settings.time),
        || {
            Load::get(format!("{}/api/v1/hello", theirs.url))
                .header("authorization", &bearer)
                .run(settings.time)
        },
    )?;
    Ok(Row::of_pairs(
        "4",
        "row 1b",
        "Express behind an Express gateway",
        Some(10.0),
        &pairs,
    ))
}
