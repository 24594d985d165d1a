//! The programs that are measured, each ended when its value is dropped, and by the kernel when this process is gone.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ledger_limiter::server::probe::probe;
use tempfile::TempDir;

use crate::failure::Failure;

/// How long a program may take until it answers.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// What TigerBeetle may cache. The default of the server.
pub(crate) const TIGERBEETLE_CACHE: &str = "1GiB";

/// A program that runs.
pub(crate) struct Running(Child);

/// A single replica in production mode, on a data file of its own.
pub(crate) struct TigerBeetle {
    running: Running,
    pub(crate) address: String,
    folder: TempDir,
}

/// A `ratelimiterd`.
pub(crate) struct Service {
    running: Running,
    pub(crate) address: String,
    _folder: TempDir,
}

/// The echo, which is this program in another role.
pub(crate) struct Echo {
    _running: Running,
    pub(crate) address: String,
}

/// A Redis that answers only when what it did is on disk.
pub(crate) struct Redis {
    _running: Running,
    pub(crate) port: u16,
    _folder: TempDir,
}

impl Running {
    fn start(mut command: Command) -> Result<Self, Failure> {
        let program = PathBuf::from(command.get_program());
        command.spawn().map(Self).map_err(|source| Failure::Run { program, source })
    }
}

impl Running {
    fn cpu(&self) -> Result<CpuTime, Failure> {
        let fields = stat(&self.0.id().to_string())?;
        Ok(CpuTime(fields[0] + fields[1]))
    }
}

/// Processor time, user's and kernel's together, in the kernel's ticks of 10 ms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuTime(u64);

impl CpuTime {
    /// That of the programs that this process ran to their end.
    pub(crate) fn of_ended_programs() -> Result<Self, Failure> {
        let fields = stat("self")?;
        Ok(Self(fields[2] + fields[3]))
    }

    /// How much it was since then, in microseconds.
    pub(crate) fn us_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 * 10_000.0
    }
}

/// The processor times of a process and of its children that ended: each the user's, then the kernel's.
fn stat(process: &str) -> Result<[u64; 4], Failure> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .map_err(Failure::file("the kernel tells no times"))?;
    // The name of the program, in brackets, may hold anything.
    let fields = text.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().skip(11));
    let times: Vec<u64> = fields.into_iter().flatten().take(4).filter_map(|it| it.parse().ok()).collect();
    times.try_into().map_err(|_| Failure::Kernel("the processor time"))
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A command that the kernel ends when this process is gone, however that ends.
fn bound_to_this_process(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl TigerBeetle {
    /// Formats a data file and starts on it.
    pub(crate) fn start() -> Result<Self, Failure> {
        let program = tigerbeetle_program()?;
        let folder = folder()?;
        let file = data_file(folder.path());
        let mut format = Command::new(&program);
        format.args(["format", "--cluster=0", "--replica=0", "--replica-count=1"]).arg(&file);
        run(&mut format)?;
        let mut command = bound_to_this_process(&program);
        command.args(["start", "--addresses=0", &format!("--cache-grid={TIGERBEETLE_CACHE}")]);
        command.arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(command)?;
        // With the address 0 it takes a free port and prints it, once it listens.
        let stdout = running.0.stdout.take().ok_or(Failure::NotReady("TigerBeetle"))?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(Failure::file("what TigerBeetle says cannot be read"))?;
        let port: u16 = line.trim().parse().map_err(|_| Failure::NotReady("TigerBeetle"))?;
        Ok(Self { running, address: format!("127.0.0.1:{port}"), folder })
    }

    /// The processor time that it has taken.
    pub(crate) fn cpu(&self) -> Result<CpuTime, Failure> {
        self.running.cpu()
    }

    /// How long its data file is, in bytes.
    pub(crate) fn data_file_bytes(&self) -> Result<u64, Failure> {
        let metadata = std::fs::metadata(data_file(self.folder.path()));
        metadata.map(|metadata| metadata.len()).map_err(Failure::file("the data file cannot be looked at"))
    }
}

impl Service {
    /// In front of a TigerBeetle.
    pub(crate) fn over_tigerbeetle(tigerbeetle: &TigerBeetle) -> Result<Self, Failure> {
        Self::start(&["--server-backend=tigerbeetle", "--tigerbeetle-addresses", &tigerbeetle.address])
    }

    /// The processor time that it has taken.
    pub(crate) fn cpu(&self) -> Result<CpuTime, Failure> {
        self.running.cpu()
    }

    /// Over the memory ledger, which forgets a lease `retention_seconds` after it is over.
    pub(crate) fn over_memory(retention_seconds: u64) -> Result<Self, Failure> {
        let retention = retention_seconds.to_string();
        Self::start(&["--server-backend=memory", "--memory-retention-seconds", &retention])
    }

    fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let folder = folder()?;
        let address = free_address()?;
        let mut command = bound_to_this_process(env!("CARGO_BIN_EXE_ratelimiterd"));
        command.env_clear().current_dir(folder.path()).args(["serve", "--server-listen-addr", &address]);
        let running = Running::start({
            command.args(arguments);
            command
        })?;
        wait_until("ratelimiterd", || probe(&address).is_ok())?;
        Ok(Self { running, address, _folder: folder })
    }
}

impl Echo {
    /// Starts this program again, as the echo.
    pub(crate) fn start() -> Result<Self, Failure> {
        let address = free_address()?;
        let mut command = bound_to_this_process(this_program()?);
        command.args(["echo", &address]);
        let running = Running::start(command)?;
        wait_until("the echo", || TcpStream::connect(&address).is_ok())?;
        Ok(Self { _running: running, address })
    }
}

impl Redis {
    /// Every answer waits for its line of the append-only file to be on disk.
    pub(crate) fn start() -> Result<Self, Failure> {
        let folder = folder()?;
        let address = free_address()?;
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port: u16 = port.ok_or(Failure::NotReady("Redis"))?;
        let mut command = bound_to_this_process("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--dir").arg(folder.path());
        let running = Running::start(command)?;
        wait_until("Redis", || TcpStream::connect(&address).is_ok())?;
        Ok(Self { _running: running, port, _folder: folder })
    }
}

/// Runs a program to its end and answers what it wrote.
pub(crate) fn run(command: &mut Command) -> Result<String, Failure> {
    let program = PathBuf::from(command.get_program());
    let output = command.output().map_err(|source| Failure::Run { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let message = stderr.lines().last().unwrap_or("it failed and said nothing").to_owned();
    Err(Failure::Program { program, message })
}

/// Runs this program in another role and answers the number that it prints.
pub(crate) fn number_from_child(role: &[&str]) -> Result<f64, Failure> {
    let program = this_program()?;
    let text = run(Command::new(&program).args(role))?;
    text.trim().parse().map_err(|_| Failure::Program { program, message: format!("no number: {text}") })
}

/// The server's program, as the script sets it up.
pub(crate) fn tigerbeetle_program() -> Result<PathBuf, Failure> {
    std::env::var_os("TB_BIN").map(PathBuf::from).ok_or(Failure::NotSet("TB_BIN"))
}

/// A folder on the disk where the build is, not on one in memory, gone when its value is dropped.
pub(crate) fn folder() -> Result<TempDir, Failure> {
    let parent = env!("CARGO_TARGET_TMPDIR");
    tempfile::tempdir_in(parent).map_err(Failure::file("a temporary folder cannot be made"))
}

fn data_file(folder: &Path) -> PathBuf {
    folder.join("0_0.tigerbeetle")
}

fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(Failure::file("this program's name cannot be read"))
}

/// An address that nothing listens on. Another process may take it before it is used; the measurement then fails.
fn free_address() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.to_string()).map_err(Failure::file("there is no free port"))
}

fn wait_until(what: &'static str, is_ready: impl Fn() -> bool) -> Result<(), Failure> {
    let deadline = Instant::now() + READY_TIMEOUT;
    while !is_ready() {
        if Instant::now() > deadline {
            return Err(Failure::NotReady(what));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
