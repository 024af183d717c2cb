//! What the operating system says of the host: processes, CPU, memory, disk.

use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// Linux counts CPU time in hundredths of a second on every architecture that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processes that are shown: the host and its compilers. 32.
const MAX_PROCESSES: usize = 32;

/// Where to look, and what CPU time there was the last time.
pub(crate) struct Machine {
    data: PathBuf,
    started: Instant,
    before: Mutex<Option<(Instant, f64, f64)>>,
}

/// What there is now.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) processes: Vec<Process>,
    /// Since the host began.
    pub(crate) uptime_s: u64,
    /// Threads that the machine runs at once.
    pub(crate) cpus: usize,
    /// CPUs that the host uses, over the time since the last look. None: it is the first.
    pub(crate) cpus_used: Option<f64>,
    /// Bytes of memory: of the machine, and of it what is available.
    pub(crate) memory: Option<(u64, u64)>,
    /// Bytes of the disk of the data folder: all, and of them what is free for the host.
    pub(crate) disk: Option<(u64, u64)>,
    pub(crate) open_files: Option<(usize, u64)>,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
    /// Seconds of CPU time so far.
    pub(crate) cpu_s: f64,
    /// Bytes of memory that are present.
    pub(crate) resident: u64,
    pub(crate) threads: u64,
}

impl Machine {
    pub(crate) fn new(data: PathBuf) -> Self {
        Machine {
            data,
            started: Instant::now(),
            before: Mutex::default(),
        }
    }

    /// Looks. It reads a few files of /proc, which do not wait for a disk, and asks for the space
    /// on the disk, which may: call it where blocking is allowed.
    pub(crate) fn look(&self) -> Load {
        let own = std::process::id();
        let mut processes: Vec<Process> = Process::read(own).into_iter().collect();
        processes.extend(
            children(own)
                .into_iter()
                .take(MAX_PROCESSES)
                .filter_map(Process::read),
        );
        let used = processes.first().map_or(0.0, |own| own.cpu_s);
        let now = Instant::now();
        Load {
            uptime_s: self.started.elapsed().as_secs(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cpus_used: self.cpus_used(now, used),
            memory: memory(),
            disk: disk(&self.data),
            open_files: open_files(),
            processes,
        }
    }

    /// Looks of several pages that come at once share one measurement.
    fn cpus_used(&self, now: Instant, used: f64) -> Option<f64> {
        let mut before = self.before.lock();
        let Some((at, earlier, last)) = *before else {
            *before = Some((now, used, 0.0));
            return None;
        };
        let seconds = now.duration_since(at).as_secs_f64();
        if seconds < 0.9 {
            return Some(last);
        }
        let share = (used - earlier).max(0.0) / seconds;
        *before = Some((now, used, share));
        Some(share)
    }
}

impl Process {
    fn read(pid: u32) -> Option<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces; what follows it begins with field 3.
        let (front, behind) = stat.rsplit_once(") ")?;
        let (_, name) = front.split_once('(')?;
        let fields: Vec<&str> = behind.split_whitespace().collect();
        let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Process {
            pid,
            name: name.to_owned(),
            cpu_s: (field(14)? + field(15)?) as f64 / TICKS_PER_SECOND,
            resident: kib(&status, "VmRSS:").unwrap_or(0) * 1024,
            threads: field(20)?,
        })
    }
}

fn children(of: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{of}/task")) else {
        return Vec::new();
    };
    let lists = threads.filter_map(|thread| {
        let children = thread.ok()?.path().join("children");
        std::fs::read_to_string(children).ok()
    });
    let pids = lists.flat_map(|list| {
        let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.collect::<Vec<u32>>()
    });
    pids.collect()
}

fn memory() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name: &str| Some(kib(&text, name)? * 1024);
    Some((bytes("MemTotal:")?, bytes("MemAvailable:")?))
}

/// The number behind `name` in a file of /proc that counts in KiB.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn disk(folder: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

/// Open files, and the limit.
fn open_files() -> Option<(usize, u64)> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Some((open, limit.current?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_sees_itself_and_its_disk() {
        let machine = Machine::new(PathBuf::from("/"));
        let load = machine.look();
        let own = &load.processes[0];
        assert_eq!(own.pid, std::process::id());
        assert!(own.resident > 1 << 20 && own.threads > 0, "{own:?}");
        assert!(load.disk.unwrap().0 > 0 && load.memory.unwrap().0 > 0);
        assert!(load.cpus_used.is_none() && machine.look().cpus_used.is_some());
    }
}
