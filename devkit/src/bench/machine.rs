//! Which core does what: Envoy has one for itself, where there are two. And how long it was at work.

use std::time::Duration;

/// One core for Envoy, another for everything else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores {
    envoy: usize,
    rest: usize,
}

impl Cores {
    /// The last two cores that this process may use. `None`: there are not as many, or this is no Linux.
    #[cfg(target_os = "linux")]
    pub(super) fn choose() -> Option<Self> {
        let allowed = rustix::thread::sched_getaffinity(None).ok()?;
        let mut cores = (0..rustix::thread::CpuSet::MAX_CPU)
            .rev()
            .filter(|core| allowed.is_set(*core));
        Some(Self {
            envoy: cores.next()?,
            rest: cores.next()?,
        })
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn choose() -> Option<Self> {
        None
    }

    /// What this thread starts from now on, thread or process, runs on Envoy's core.
    pub(super) fn for_envoy(self) {
        pin(&[self.envoy]);
    }

    /// This thread, and what it starts from now on, leaves Envoy's core alone.
    pub(super) fn for_the_rest(self) {
        pin(&[self.rest]);
    }

    /// What this thread starts from now on runs on both.
    pub(super) fn for_a_start(self) {
        pin(&[self.envoy, self.rest]);
    }
}

/// Optional: without it the figures are noisier, and no less true.
#[cfg(target_os = "linux")]
fn pin(cores: &[usize]) {
    let mut set = rustix::thread::CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

#[cfg(not(target_os = "linux"))]
fn pin(_: &[usize]) {}

/// How long the threads of a process have been at work, in user space and in the kernel: to the nanosecond, where
/// `/proc/PID/stat` counts hundredths of seconds. `None`: this kernel does not say.
#[cfg(target_os = "linux")]
pub(super) fn time_at_work(pid: u32) -> Option<Duration> {
    let process = procfs::process::Process::new(pid.cast_signed()).ok()?;
    let threads = process.tasks().ok()?.flatten();
    let nanoseconds = threads.map(|thread| Some(thread.schedstat().ok()?.sum_exec_runtime));
    nanoseconds.sum::<Option<u64>>().map(Duration::from_nanos)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn time_at_work(_: u32) -> Option<Duration> {
    None
}
