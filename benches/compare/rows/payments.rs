//! Rows 5 to 7: payments, durable before the answer.

use super::{Settings, guarded};
use crate::ours::{Disk, Ours};
use crate::peers::Express;
use crate::scripts;
use crate::table::{Row, shown};
use hms_harness::guests;
use hms_harness::pairs::{Pairs, middle};
use hms_harness::wrk::{Figure, Load};
use std::time::Duration;

const SCOPES: [&str; 2] = ["payments.read", "payments.write"];

struct Payments {
    host: Ours,
    bearer: String,
}

impl Payments {
    async fn start(disk: Disk) -> anyhow::Result<Payments> {
        let component = guests::path("payments").await;
        let routes = [(
            "payments",
            guarded("/api/v1/payments/**", "http://hms-svc-payments"),
        )];
        let host = Ours::start_on(disk, "warn", &routes, &[])?;
        host.deploy("payments", &component)?;
        // A million payments of one window are more than its usual gigabyte of store holds.
        host.hms(&["limits", "payments", "--store", "8GiB"])?;
        let bearer = host.bearer(&SCOPES)?;
        Ok(Payments { host, bearer })
    }

    fn pay(&self, time: Duration) -> anyhow::Result<Figure> {
        Load::get(self.host.url("/api/v1/payments"))
            .header("authorization", &self.bearer)
            .script(scripts::pay()?)
            .run(time)
    }

    fn look_up(&self, id: &str, time: Duration) -> anyhow::Result<Figure> {
        Load::get(self.host.url(&format!("/api/v1/payments/{id}")))
            .header("authorization", &self.bearer)
            .connections(4)
            .run(time)
    }

    /// Makes a payment and gives its id.
    fn one(&self) -> anyhow::Result<String> {
        let output = std::process::Command::new("curl")
            .args(["-sf", "-H", &format!("authorization: {}", self.bearer)])
            .args(["-H", "content-type: application/json"])
            .args(["-d", r#"{"amount":42,"purpose":"FOIA copy fee"}"#])
            .arg(self.host.url("/api/v1/payments"))
            .output()?;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(said["id"].as_str().unwrap_or_default().to_string())
    }
}

/// Against the chapter's service, whose payments are in memory.
pub async fn against_express(settings: &Settings) -> anyhow::Result<Row> {
    let ours = Payments::start(Disk::Disk).await?;
    let theirs = Express::start(&ours.host.secret()?)?;
    let script = scripts::pay()?;
    let pairs = Pairs::take(
        settings.pairs,
        || ours.pay(settings.time),
        || {
            Load::get(format!("{}/api/v1/payments", theirs.url))
                .header("authorization", &ours.bearer)
                .script(script.clone())
                .run(settings.time)
        },
    )?;
    let work = "POST /payments, on disk before the answer";
    Ok(Row::of_pairs(
        "5",
        work,
        "Express, in memory, behind its gateway",
        Some(5.0),
        &pairs,
    ))
}

/// Against itself, where a sync costs nothing.
pub async fn against_no_sync(settings: &Settings) -> anyhow::Result<Row> {
    let (ours, theirs) = (
        Payments::start(Disk::Disk).await?,
        Payments::start(Disk::Memory).await?,
    );
    let pairs = Pairs::take(
        settings.pairs,
        || ours.pay(settings.time),
        || theirs.pay(settings.time),
    )?;
    Ok(Row::of_pairs(
        "6",
        "row 5",
        "itself with its data in memory (tmpfs)",
        Some(0.6),
        &pairs,
    ))
}

/// A look-up among many, against one among few.
pub async fn among_many(settings: &Settings) -> anyhow::Result<Row> {
    let (many, few) = (
        Payments::start(Disk::Disk).await?,
        Payments::start(Disk::Disk).await?,
    );
    for _ in 0..1000 {
        few.one()?;
    }
    let mut stored = 0.0;
    while stored < f64::from(settings.payments) {
        let time = Duration::from_secs(10);
        let figure = many.pay(time)?;
        stored += figure.per_second * time.as_secs_f64();
        eprintln!("  {stored:.0} payments stored");
    }
    let (of_many, of_few) = (many.one()?, few.one()?);
    let pairs = Pairs::take(
        settings.pairs,
        || many.look_up(&of_many, settings.time),
        || few.look_up(&of_few, settings.time),
    )?;
    Ok(Row {
        number: "7",
        work: format!("GET /payments/{{id}} among {stored:.0}"),
        baseline: "among 1,000".into(),
        ours: shown(&pairs.ours),
        theirs: shown(&pairs.theirs),
        mark: Some(1.0 / 1.3),
        found: 1.0 / pairs.ratio(|figure| figure.p50_ms),
        also: None,
        notes: format!(
            "the ratio is that of the medians' inverse; 4 connections; generator {:.0} %",
            middle(&pairs.ours, |figure| figure.generator) * 100.0
        ),
    })
}
