//! The measured programs. Dropping the value of a program ends it; if this process dies, the kernel ends them all.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::access::Access;
use crate::failure::Failure;

/// The longest time from the start of a program to its first answer.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// The cache of TigerBeetle; this is also the server's default.
pub(crate) const TIGERBEETLE_CACHE: &str = "1GiB";

/// A running program.
pub(crate) struct Running(Child);

/// A cluster of one replica, in production mode, with a data file of its own.
pub(crate) struct TigerBeetle {
    running: Running,
    pub(crate) address: String,
    folder: TempDir,
}

/// A `ratelimiterd` with a working folder of its own.
pub(crate) struct Service {
    running: Running,
    pub(crate) address: String,
    access: Access,
    folder: TempDir,
}

/// The echo: this program, started again with the subcommand `echo`.
pub(crate) struct Echo {
    _running: Running,
    pub(crate) address: String,
}

/// A Redis that answers only after its writes are on disk.
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

/// Processor time in user and kernel mode together, in the kernel's ticks of 10 ms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuTime(u64);

impl CpuTime {
    /// The processor time of all child processes that ended.
    pub(crate) fn of_ended_programs() -> Result<Self, Failure> {
        let fields = stat("self")?;
        Ok(Self(fields[2] + fields[3]))
    }

    /// The time since `earlier`, in microseconds.
    pub(crate) fn us_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 * 10_000.0
    }
}

/// The processor times of a process, then of its ended children; of each in user mode, then in kernel mode.
fn stat(process: &str) -> Result<[u64; 4], Failure> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .map_err(Failure::file("the processor time cannot be read"))?;
    // The program's name may hold spaces and brackets, so the fields are counted from the last bracket.
    let fields = text.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().skip(11));
    let times: Vec<u64> = fields.into_iter().flatten().take(4).filter_map(|it| it.parse().ok()).collect();
    times.try_into().map_err(|_| Failure::Kernel("the processor time"))
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killing fails if the program has already ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A command whose process the kernel kills when this process ends, whatever ends it.
fn bound_to_this_process(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl TigerBeetle {
    /// Formats a data file and starts a replica on it.
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
        // With the address 0 TigerBeetle takes a free port, and prints it when it listens.
        let stdout = running.0.stdout.take().ok_or(Failure::NotReady("TigerBeetle"))?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(Failure::file("the port of TigerBeetle cannot be read"))?;
        let port: u16 = line.trim().parse().map_err(|_| Failure::NotReady("TigerBeetle"))?;
        Ok(Self { running, address: format!("127.0.0.1:{port}"), folder })
    }

    /// The processor time that it has taken.
    pub(crate) fn cpu(&self) -> Result<CpuTime, Failure> {
        self.running.cpu()
    }

    /// The size of the data file, in bytes.
    pub(crate) fn data_file_bytes(&self) -> Result<u64, Failure> {
        let metadata = std::fs::metadata(data_file(self.folder.path()));
        metadata
            .map(|metadata| metadata.len())
            .map_err(Failure::file("the size of the data file cannot be read"))
    }
}

impl Service {
    /// Starts a service over TigerBeetle.
    pub(crate) fn over_tigerbeetle(tigerbeetle: &TigerBeetle) -> Result<Self, Failure> {
        let arguments = ["--server-backend=tigerbeetle", "--tigerbeetle-addresses", &tigerbeetle.address];
        Self::start(&arguments, Access::default())
    }

    /// The processor time that it has taken.
    pub(crate) fn cpu(&self) -> Result<CpuTime, Failure> {
        self.running.cpu()
    }

    /// Starts a service over the memory ledger, which forgets a lease `retention_seconds` after its end.
    pub(crate) fn over_memory(retention_seconds: u64, access: Access) -> Result<Self, Failure> {
        let retention = retention_seconds.to_string();
        Self::start(&["--server-backend=memory", "--memory-retention-seconds", &retention], access)
    }

    fn start(arguments: &[&str], access: Access) -> Result<Self, Failure> {
        let folder = folder()?;
        let address = free_address()?;
        let mut command = bound_to_this_process(env!("CARGO_BIN_EXE_ratelimiterd"));
        command.env_clear().current_dir(folder.path()).args(["serve", "--server-listen-addr", &address]);
        command.args(arguments).args(access.set_up(folder.path())?);
        let running = Running::start(command)?;
        wait_until("ratelimiterd", || access.is_ready(&address, folder.path()))?;
        Ok(Self { running, address, access, folder })
    }

    /// The flags with which the load generator calls it.
    pub(crate) fn load_flags(&self) -> Vec<PathBuf> {
        self.access.load_flags(&self.address, self.folder.path())
    }
}

impl Echo {
    /// Starts the echo, and waits until it listens.
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
    /// Starts a Redis in which every answer waits until its line of the append-only file is on disk.
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

/// Runs a program to its end. Returns what it wrote to standard output.
pub(crate) fn run(command: &mut Command) -> Result<String, Failure> {
    let program = PathBuf::from(command.get_program());
    let output = command.output().map_err(|source| Failure::Run { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let message = stderr.lines().last().unwrap_or("it failed without a message").to_owned();
    Err(Failure::Program { program, message })
}

/// Runs this program with the subcommand `role`. Returns the number that it prints.
pub(crate) fn number_from_child(role: &[&str]) -> Result<f64, Failure> {
    let program = this_program()?;
    let text = run(Command::new(&program).args(role))?;
    text.trim().parse().map_err(|_| Failure::Program { program, message: format!("not a number: {text}") })
}

/// The program of the TigerBeetle server, which `scripts/bench` installs.
pub(crate) fn tigerbeetle_program() -> Result<PathBuf, Failure> {
    std::env::var_os("TB_BIN").map(PathBuf::from).ok_or(Failure::NotSet("TB_BIN"))
}

/// A temporary folder on the disk of the build folder, because `/tmp` may be in memory. Dropping it removes it.
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

/// An address that no process listens on. If another process takes it before it is used, the measurement fails.
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
