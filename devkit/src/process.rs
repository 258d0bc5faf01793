//! Processes that are never left behind.

#[cfg(feature = "tests")]
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
#[cfg(feature = "tests")]
use std::time::Duration;
use std::{io, thread};

use rustix::process::{Pid, Signal, kill_process};

/// What a process used so far.
#[cfg(feature = "tests")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system CPU time.
    pub cpu: Duration,
    /// Memory in use now, in bytes.
    pub resident: u64,
    /// The most memory that was in use, in bytes.
    pub peak: u64,
}

/// A running process; it is killed when this is dropped, and dies when this process does.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// Where the system does not let us.
    pub fn start(mut command: Command) -> io::Result<Self> {
        // In a process group of its own: Ctrl-C reaches us alone, and we end it in order.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = spawn(command)?;
        let pid = child.id();
        Ok(Self {
            child: Mutex::new(child),
            pid,
        })
    }

    /// Its ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        let status = self.child().try_wait();
        status.ok().flatten().map(|status| status.to_string())
    }

    /// CPU time and memory so far. `None`: it has ended, or this is no Linux.
    #[cfg(feature = "tests")]
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        usage(self.pid)
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        let mut child = self.child();
        // One that has ended and was waited for may have left its ID to another.
        let runs = matches!(child.try_wait(), Ok(None));
        if let Some(pid) = Pid::from_raw(self.pid.cast_signed()).filter(|_| runs) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Lets this process and those it starts have as many files open as the system allows: a crowd needs more than is usual.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not be raised, tests of crowds fail.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Both outputs of a process into one file.
///
/// # Errors
/// Where the file cannot be made.
pub fn log_to(command: &mut Command, path: &Path) -> io::Result<()> {
    let file = File::create(path)?;
    command.stdout(file.try_clone()?).stderr(file);
    Ok(())
}

#[cfg(all(feature = "tests", target_os = "linux"))]
fn usage(pid: u32) -> Option<Usage> {
    let process = procfs::process::Process::new(pid.cast_signed()).ok()?;
    let (stat, status) = (process.stat().ok()?, process.status().ok()?);
    let ticks = stat.utime + stat.stime;
    Some(Usage {
        cpu: Duration::from_millis(ticks * 1000 / procfs::ticks_per_second()),
        resident: status.vmrss? * 1024,
        peak: status.vmhwm? * 1024,
    })
}

#[cfg(all(feature = "tests", not(target_os = "linux")))]
fn usage(_: u32) -> Option<Usage> {
    None
}

/// The processes that this one has started and that still run. None where this is no Linux.
#[cfg(feature = "tests")]
#[must_use]
pub fn children(parent: u32) -> BTreeSet<u32> {
    processes()
        .into_iter()
        .filter(|(_, of)| *of == parent)
        .map(|(pid, _)| pid)
        .collect()
}

/// Every process, and whose child it is.
#[cfg(all(feature = "tests", target_os = "linux"))]
fn processes() -> Vec<(u32, u32)> {
    let all = procfs::process::all_processes().into_iter().flatten();
    all.flatten()
        .filter_map(|process| process.stat().ok())
        .map(|stat| (stat.pid.cast_unsigned(), stat.ppid.cast_unsigned()))
        .collect()
}

#[cfg(all(feature = "tests", not(target_os = "linux")))]
fn processes() -> Vec<(u32, u32)> {
    Vec::new()
}

type Job = (Command, Sender<io::Result<Child>>);

/// Starts a process that the kernel kills when this one dies, by whatever cause. It runs where the calling thread may.
///
/// The kernel means the death of the *thread* that started it, so all are started by one that lives as long as we do.
fn spawn(mut command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (starter, jobs) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in jobs {
                let _ = answer.send(bound_to_us(&mut command).spawn());
            }
        });
        starter
    });
    where_we_run(&mut command);
    let (answer, child) = channel();
    starter
        .send((command, answer))
        .map_err(|_| io::Error::other("the starter has gone"))?;
    child.recv().map_err(io::Error::other)?
}

/// On the cores of the thread that asks for it, not on those of the one that starts it.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn where_we_run(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    use rustix::thread::{sched_getaffinity, sched_setaffinity};

    if let Ok(cores) = sched_getaffinity(None) {
        // Optional: a process that runs elsewhere works as well.
        let stay = move || sched_setaffinity(None, &cores).or(Ok(()));
        // SAFETY: between fork and exec only a system call is made; nothing allocates, locks or touches shared state.
        unsafe { command.pre_exec(stay) };
    }
}

#[cfg(not(target_os = "linux"))]
fn where_we_run(_: &mut Command) {}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn bound_to_us(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;

    use rustix::process::{getppid, set_parent_process_death_signal};

    let parent = std::process::id();
    let die_with_parent = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have died before that.
        let orphaned =
            getppid().is_none_or(|pid| pid.as_raw_nonzero().get().cast_unsigned() != parent);
        if orphaned {
            Err(io::Error::other("orphaned"))
        } else {
            Ok(())
        }
    };
    // SAFETY: between fork and exec only system calls are made; nothing allocates, locks or touches shared state.
    unsafe { command.pre_exec(die_with_parent) }
}

#[cfg(not(target_os = "linux"))]
fn bound_to_us(command: &mut Command) -> &mut Command {
    command
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::*;

    fn cores_of_a_child() -> CpuSet {
        let mut command = Command::new("sleep");
        command.arg("60");
        let child = Process::start(command).unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        sched_getaffinity(pid).unwrap()
    }

    #[test]
    fn it_runs_on_the_cores_of_the_thread_that_asked_for_it() {
        let all = sched_getaffinity(None).unwrap();
        assert_eq!(cores_of_a_child(), all);
        for core in (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)) {
            let mut one = CpuSet::new();
            one.set(core);
            sched_setaffinity(None, &one).unwrap();
            assert_eq!(cores_of_a_child(), one);
        }
    }
}
