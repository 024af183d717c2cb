//! What the kernel says of a process.

use std::fs;

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Memory in KiB: all that is mapped and present; shared pages by their share; and what is its
    /// alone and written to.
    pub rss_kib: u64,
    pub pss_kib: u64,
    pub private_dirty_kib: u64,
    pub files: usize,
    pub mappings: usize,
    pub threads: usize,
}

/// What process `pid` holds now.
pub fn held(pid: u32) -> Held {
    let memory = read(pid, "smaps_rollup");
    let kib = |name: &str| -> u64 {
        let line = memory.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        value.and_then(|value| value.parse().ok()).unwrap()
    };
    let entries = |folder: &str| {
        fs::read_dir(format!("/proc/{pid}/{folder}"))
            .unwrap()
            .count()
    };
    Held {
        rss_kib: kib("Rss:"),
        pss_kib: kib("Pss:"),
        private_dirty_kib: kib("Private_Dirty:"),
        files: entries("fd"),
        mappings: read(pid, "maps").lines().count(),
        threads: entries("task"),
    }
}

/// The most memory that a process had since a moment, by the kernel's own mark, which misses
/// nothing in between.
pub struct Peak {
    pid: u32,
    before_kib: u64,
}

impl Peak {
    /// From now on. There is one mark for a process: a later one ends this.
    pub fn since_now(pid: u32) -> Self {
        // See proc_pid_clear_refs(5): 5 sets the mark to what is resident.
        fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        let before_kib = status_kib(pid, "VmRSS:");
        Peak { pid, before_kib }
    }

    /// MiB of resident memory at that moment.
    pub fn before_mib(&self) -> f64 {
        self.before_kib as f64 / 1024.0
    }

    /// The most MiB since.
    pub fn mib(&self) -> f64 {
        status_kib(self.pid, "VmHWM:") as f64 / 1024.0
    }

    /// MiB by which it grew at most.
    pub fn grown_mib(&self) -> f64 {
        self.mib() - self.before_mib()
    }
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status = read(pid, "status");
    let line = status.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value.and_then(|value| value.parse().ok()).unwrap()
}

/// Seconds of CPU time that a process took, and that the children it has waited for took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub own: f64,
    pub children: f64,
}

impl std::ops::Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        Cpu {
            own: self.own - before.own,
            children: self.children - before.children,
        }
    }
}

impl std::ops::AddAssign for Cpu {
    fn add_assign(&mut self, more: Cpu) {
        self.own += more.own;
        self.children += more.children;
    }
}

/// The CPU time of process `pid` so far.
pub fn cpu(pid: u32) -> Cpu {
    // Linux counts them in hundredths of a second on every architecture that we run on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = read(pid, "stat");
    // The name in parentheses may hold spaces; what follows it begins with field 3.
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let seconds = |field: usize| fields[field - 3].parse::<f64>().unwrap() / TICKS_PER_SECOND;
    Cpu {
        own: seconds(14) + seconds(15),
        children: seconds(16) + seconds(17),
    }
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()
}

#[test]
fn memory_peak_is_seen_afterwards_and_the_next_starts_anew() {
    const MIB: usize = 1 << 20;
    let pid = std::process::id();
    let peak = Peak::since_now(pid);
    drop(std::hint::black_box(vec![1_u8; 64 * MIB]));
    assert!(peak.grown_mib() >= 60.0, "{}", peak.grown_mib());
    let later = Peak::since_now(pid);
    assert!(later.grown_mib() < 60.0, "{}", later.grown_mib());
}
