//! Process groups that this process has started, and that must not outlive it. A compiler child of
//! a deploy is no such: it ends with its parent by itself (`runtime/compile.rs`).

use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeSet;

/// Those that run now.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A process group, which ends when this is dropped, or when the process ends by [`end_all`].
#[derive(Debug)]
pub struct Group(Pid);

impl Group {
    /// The group of a child whose number is `id`, and which leads it. Not of one that was waited
    /// for: its number may be another's.
    pub fn led_by(id: u32) -> Option<Self> {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw)?;
        groups().insert(pid.as_raw_pid());
        Some(Group(pid))
    }

    /// The leader has ended and was waited for: nothing is to be ended any more.
    pub fn release(self) {
        groups().remove(&self.0.as_raw_pid());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if groups().remove(&self.0.as_raw_pid()) {
            let _ = kill_process_group(self.0, Signal::KILL);
        }
    }
}

/// Ends all of them. For a process that ends without unwinding.
pub fn end_all() {
    for pid in std::mem::take(&mut *groups()) {
        if let Some(group) = Pid::from_raw(pid) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn groups() -> MutexGuard<'static, BTreeSet<i32>> {
    GROUPS.lock()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use tokio::process::{Child, Command};

    /// A shell that waits for a child of its own, and its group.
    fn sleeper() -> (Child, Group) {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & wait"]).process_group(0);
        let child = command.spawn().unwrap();
        let group = child.id().and_then(Group::led_by).unwrap();
        (child, group)
    }

    #[tokio::test]
    async fn process_group_ends_when_dropped_and_every_group_at_process_end() {
        let (mut dropped, group) = sleeper();
        drop(group);
        let ended = dropped.wait().await.unwrap();
        assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()));

        let (mut released, group) = sleeper();
        group.release();
        let (mut first, _first) = sleeper();
        let (mut second, _second) = sleeper();
        end_all();
        for child in [&mut first, &mut second] {
            let ended = child.wait().await.unwrap();
            assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()));
        }
        assert!(released.try_wait().unwrap().is_none(), "it is nobody's");
        let group = released.id().and_then(Group::led_by);
        drop(group);
        released.wait().await.unwrap();
    }
}
