//! The clients that ask for an act: in a process of their own at low priority, as if on another
//! machine, so that what they cost is not taken for what the host costs its neighbours.

use hms_harness::Host;
use hms_harness::hostile::{ACTS, Act};
use rustix::process::setpriority_process;
use serde::{Deserialize, Serialize};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Clients that ask for the act again and again.
pub const AT_ONCE: usize = 8;

/// A client asks again, but not as fast as the machine can.
const PAUSE: Duration = Duration::from_millis(5);

/// The lowest there is.
const NICE: i32 = 19;

/// Outcomes that are told of those that were wrong.
const TOLD: usize = 3;

/// What they saw.
#[derive(Default, Serialize, Deserialize)]
pub struct Report {
    pub asked: u64,
    pub wrong: u64,
    pub told: Vec<String>,
}

/// Clients at work.
pub struct Attack(Child);

impl Attack {
    /// Starts them; they ask for `act` for `time`, and then wait for what they asked.
    pub fn start(host: &Host, act: &Act, time: Duration) -> Self {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program)
            .args(["--attack", act.name, "--gateway", host.gateway()])
            .args(["--seconds", &time.as_secs().to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        Attack(child.expect("the clients"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id().expect("it runs")
    }

    /// What they saw.
    pub async fn report(mut self) -> Report {
        let mut text = String::new();
        let mut stdout = self.0.stdout.take().expect("its output");
        stdout.read_to_string(&mut text).await.expect("its output");
        let _ = self.0.wait().await;
        serde_json::from_str(&text).expect("a report")
    }
}

/// The other side: asks, and prints the report.
pub async fn run(name: &str, gateway: &str, time: Duration) -> bool {
    let _ = setpriority_process(None, NICE);
    let act = ACTS.iter().find(|act| act.name == name).expect("an act");
    let (over, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (gateway, over, asked) = (gateway.to_owned(), over.clone(), asked.clone());
        clients.spawn(async move {
            let mut wrong = Vec::new();
            while !over.load(Relaxed) {
                let seen = act.once(&gateway).await;
                asked.fetch_add(1, Relaxed);
                wrong.extend(act.check(&seen).err());
                tokio::time::sleep(PAUSE).await;
            }
            wrong
        });
    }
    tokio::time::sleep(time).await;
    over.store(true, Relaxed);
    let mut told: Vec<String> = clients.join_all().await.into_iter().flatten().collect();
    let wrong = told.len() as u64;
    told.truncate(TOLD);
    let report = Report {
        asked: asked.load(Relaxed),
        wrong,
        told,
    };
    println!("{}", serde_json::json!(report));
    true
}
