//! Which core does what: Envoy has one for itself, where there are two.

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
        pin(self.envoy);
    }

    /// This thread, and what it starts from now on, leaves Envoy's core alone.
    pub(super) fn for_the_rest(self) {
        pin(self.rest);
    }
}

/// A wish: where it cannot be had, the figures are noisier, and no less true.
#[cfg(target_os = "linux")]
fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

#[cfg(not(target_os = "linux"))]
fn pin(_: usize) {}
