//! The host itself, and the API keys.

use super::{Frame, shown};
use crate::Dashboard;
use crate::api::Api;
use crate::machine::Load;
use crate::show::{self, NONE, When};
use askama::Template;
use hms_api::{Health, KeyList, Problem};

#[derive(Template)]
#[template(path = "host.html", blocks = ["live"])]
pub(crate) struct Host {
    frame: Frame,
    version: &'static str,
    is_ready: bool,
    rate: String,
    failures: String,
    p50: String,
    p99: String,
    uptime: String,
    /// CPUs that it uses, of so many.
    cpu: String,
    cpus: usize,
    memory: String,
    machine_memory: Option<String>,
    /// What is used, and of how much.
    disk: (String, String),
    files: (String, String),
    processes: Vec<Process>,
    facts: Vec<(&'static str, String)>,
}

struct Process {
    pid: u32,
    name: String,
    cpu: String,
    memory: String,
    threads: u64,
}

#[derive(Template)]
#[template(path = "keys.html", blocks = ["live"])]
pub(crate) struct Keys {
    frame: Frame,
    rows: Vec<Key>,
    unsaved: Option<String>,
}

struct Key {
    id: String,
    user: String,
    scopes: String,
    created: When,
    expires: Option<When>,
}

shown!(Host, Keys);

pub(crate) async fn page(dashboard: &Dashboard, api: &Api) -> Result<Host, Problem> {
    let health: Result<Health, Problem> = api.get("/readyz").await;
    let load = {
        let machine = dashboard.machine.clone();
        let look = tokio::task::spawn_blocking(move || machine.look());
        look.await.unwrap_or_default()
    };
    let now = dashboard.series.host_now();
    let used = |(all, free): (u64, u64)| {
        let used = all.saturating_sub(free);
        (show::bytes(used), format!("of {} used", show::bytes(all)))
    };
    let own = load.processes.first().map_or(0, |own| own.resident);
    Ok(Host {
        frame: Frame::of("host", "host"),
        version: dashboard.about.version,
        is_ready: health.is_ok(),
        rate: show::rate(now.rate),
        failures: show::share(now.failures, now.rate),
        p50: show::ms(now.p50),
        p99: show::ms(now.p99),
        uptime: show::duration(load.uptime_s),
        cpu: load
            .cpus_used
            .map_or(NONE.into(), |used| format!("{used:.2}")),
        cpus: load.cpus,
        memory: show::bytes(own),
        machine_memory: load.memory.map(|of| {
            let (used, of) = used(of);
            format!("{used} {of}")
        }),
        disk: load.disk.map_or((NONE.into(), String::new()), used),
        files: match load.open_files {
            Some((open, limit)) => (open.to_string(), format!("of {limit}")),
            None => (NONE.into(), String::new()),
        },
        processes: processes(load),
        facts: dashboard.about.facts.clone(),
    })
}

fn processes(load: Load) -> Vec<Process> {
    let shown = |process: crate::machine::Process| Process {
        pid: process.pid,
        name: process.name,
        cpu: format!("{:.1} s", process.cpu_s),
        memory: show::bytes(process.resident),
        threads: process.threads,
    };
    load.processes.into_iter().map(shown).collect()
}

pub(crate) async fn keys(api: &Api) -> Result<Keys, Problem> {
    let list: KeyList = api.get("/keys").await?;
    let row = |key: hms_api::Key| Key {
        id: key.id,
        user: key.user,
        scopes: key.scopes.join(" "),
        created: show::when(key.created),
        expires: key.expires.map(show::when),
    };
    Ok(Keys {
        frame: Frame::of("keys", "keys"),
        unsaved: list.unsaved.map(|unsaved| unsaved.why),
        rows: list.keys.into_iter().map(row).collect(),
    })
}
