//! Child processes that never outlive us: ended by id on drop, and by the kernel when this process
//! dies without dropping anything.

use std::{
    io,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

use crate::{Error, Result};

/// A running child process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `program` with `arguments`; `set_up` may add environment and redirections.
    ///
    /// The kernel kills the child when this process dies (`setpriv --pdeathsig`; where that tool
    /// is missing, only drop ends the child).
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(
        program: &Path,
        arguments: &[String],
        set_up: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let name = program.file_name().map_or_else(String::new, |n| n.to_string_lossy().into());
        if !program.is_file() {
            return Err(Error::Missing(name, program.to_owned()));
        }
        let mut command = if has_setpriv() {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments);
        set_up(&mut command);
        let child = spawn_from_lasting_thread(command)
            .map_err(Error::io(format!("start {}", program.display())))?;
        Ok(Self { child, name })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child's standard streams, where they were piped.
    pub fn streams(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Whether it still runs (a stopped process does); otherwise how it ended.
    ///
    /// # Errors
    /// When the child cannot be waited for.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(Error::io(format!("wait for {}", self.name)))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has already ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // A reaped child's id may belong to somebody else by now.
        if self.exit_status()?.is_some() {
            return Err(Error::Child(format!("{} has already ended", self.name)));
        }
        kill(Pid::from_raw(self.pid() as i32), signal)
            .map_err(|errno| Error::Io(format!("signal {}", self.name), errno.into()))
    }

    /// SIGKILL, and waits for the end: `kill -9`. Does nothing where it has ended already.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then SIGKILL after `patience`.
    pub fn terminate(&mut self, patience: Duration) {
        if self.signal(Signal::SIGTERM).is_ok() {
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if matches!(self.exit_status(), Ok(Some(_)) | Err(_)) {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        self.kill();
    }

    /// CPU time used so far by all of its threads, user and system.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(self.pid())
    }
}

/// CPU time that a process used so far, all its threads, user and system, to the nanosecond: many
/// processes that each use little would drown in the rounding of `/proc/PID/stat`.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    clock_getcpuclockid(Pid::from_raw(pid as i32))
        .and_then(clock_gettime)
        .map(Duration::from)
        .map_err(|errno| Error::Io(format!("read the CPU time of process {pid}"), errno.into()))
}

/// The kernel's clock ticks as time.
pub(crate) fn ticks_to_time(ticks: u64) -> Duration {
    let per_second =
        nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn has_setpriv() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

type Request = (Command, Sender<io::Result<Child>>);

/// The kernel's "parent death" is the death of the *thread* that started the child. Test threads
/// and blocking threads of a runtime come and go, so one thread that lasts as long as the process
/// starts them all.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = channel::<Request>();
        thread::spawn(move || {
            while let Ok((mut command, answer)) = inbox.recv() {
                let _ = answer.send(command.spawn());
            }
        });
        requests
    });
    let gone = |_| io::Error::other("the thread that starts children has died");
    let (answer, child) = channel();
    spawner.send((command, answer)).map_err(|e| gone(e.to_string()))?;
    child.recv().map_err(|e| gone(e.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Process {
        Process::spawn(Path::new("/bin/sleep"), &["600".into()], |_| {}).unwrap()
    }

    #[test]
    fn drop_ends_the_child() {
        let process = sleeper();
        let pid = process.pid();
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let mut process = thread::spawn(sleeper).join().unwrap();
        thread::sleep(Duration::from_millis(100));
        assert!(process.exit_status().unwrap().is_none(), "killed with the thread");
    }

    #[test]
    fn terminate_waits_for_the_end_and_signals_then_fail() {
        let mut process = sleeper();
        process.terminate(Duration::from_secs(5));
        assert!(process.exit_status().unwrap().is_some());
        assert!(process.signal(Signal::SIGTERM).is_err());
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Process::spawn(Path::new("/nowhere/envoy"), &[], |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "envoy is not at /nowhere/envoy");
    }
}
