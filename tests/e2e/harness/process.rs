//! What the kernel says of a process.

use std::fs;

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Memory in KiB: all that is mapped and present; shared pages by their share; and what is its alone and written to.
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
