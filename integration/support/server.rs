//! Starts, stops and restarts TigerBeetle servers.
//!
//! A server of one replica runs in a container if `TIGERBEETLE_IMAGE` names an image (`scripts/test` sets it where a
//! Docker engine answers), and as a local process otherwise. The cluster of three replicas always runs as local
//! processes.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use testcontainers::core::wait::ExitWaitStrategy;
use testcontainers::core::{IntoContainerPort, Mount, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use super::network::Network;

/// The prefix of the name of every container and volume, by which `scripts/test` removes those that a killed run left.
const NAME_PREFIX: &str = "ratelimiterd-test";
const FORMAT: [&str; 5] = ["format", "--cluster=0", "--replica=0", "--replica-count=1", "--development"];
const DATA_FILE: &str = "0_0.tigerbeetle";
/// A replica in development mode takes 8 connections and does not answer on further ones. The tests need more, because
/// each runs several replicas of the service.
const START: [&str; 4] = ["start", "--development", "--experimental", "--limit-pipeline-requests=57"];
const START_WITH_8_CONNECTIONS: [&str; 2] = ["start", "--development"];

/// A TigerBeetle of one replica with its own data file. It keeps its address when it is restarted.
pub enum Server {
    Process(Box<Process>),
    Container(Box<Container>),
}

pub struct Process {
    port: u16,
    start: &'static [&'static str],
    child: Option<Child>,
    folder: TempDir,
}

pub struct Container {
    port: u16,
    running: ContainerAsync<GenericImage>,
}

impl Server {
    /// Formats a data file and starts the server.
    pub async fn start() -> Self {
        match std::env::var("TIGERBEETLE_IMAGE") {
            Ok(image) if !image.is_empty() => {
                eprintln!("starting TigerBeetle in a container of {image}");
                Self::Container(Box::new(Container::start(&image).await))
            }
            Ok(_) | Err(_) => {
                eprintln!("starting TigerBeetle as a local process: {}", binary().display());
                let mut process = Process::format().await;
                process.run().await;
                Self::Process(Box::new(process))
            }
        }
    }

    pub fn address(&self) -> String {
        match self {
            Self::Process(process) => process.address(),
            Self::Container(container) => format!("127.0.0.1:{}", container.port),
        }
    }

    /// Kills the server, as a crash would.
    pub async fn stop(&mut self) {
        match self {
            Self::Process(process) => process.kill().await,
            Self::Container(container) => {
                container.running.stop_with_timeout(Some(0)).await.expect("the container stops");
            }
        }
    }

    /// Starts the server again, with the same data and address.
    pub async fn start_again(&mut self) {
        match self {
            Self::Process(process) => process.run().await,
            Self::Container(container) => container.running.start().await.expect("the container starts"),
        }
    }
}

impl Process {
    /// Formats a data file and chooses a free port. Does not start the server.
    pub async fn format() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        format(&folder.path().join(DATA_FILE)).await;
        Self { port: free_port(), start: &START, child: None, folder }
    }

    /// The same, of a server that takes 8 connections.
    pub async fn format_with_8_connections() -> Self {
        Self { start: &START_WITH_8_CONNECTIONS, ..Self::format().await }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub async fn run(&mut self) {
        let address = self.address();
        let child = Command::new(binary())
            .args(self.start)
            .arg(format!("--addresses={address}"))
            .arg(self.folder.path().join(DATA_FILE))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.expect("the server's program runs"));
    }

    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("it was running");
        }
    }
}

impl Container {
    async fn start(image: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{NAME_PREFIX}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (repository, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
        let file = format!("/data/{DATA_FILE}");
        let with_data = |wait: WaitFor, command: Vec<String>| -> ContainerRequest<GenericImage> {
            GenericImage::new(repository, tag)
                .with_exposed_port(3000.tcp())
                .with_wait_for(wait)
                .with_cmd(command)
                .with_mount(Mount::volume_mount(name.clone(), "/data"))
                .with_security_opt("seccomp=unconfined")
                .with_cap_add("IPC_LOCK")
                .with_startup_timeout(Duration::from_secs(60))
        };
        let format = FORMAT.map(str::to_owned).into_iter().chain([file.clone()]).collect();
        let formatted =
            with_data(WaitFor::exit(ExitWaitStrategy::new().with_exit_code(0)), format).start().await;
        drop(formatted.expect("a container formats the data file"));
        let start = START.into_iter().chain(["--addresses=0.0.0.0:3000", &file]).map(str::to_owned).collect();
        let port = free_port();
        let running = with_data(WaitFor::message_on_stderr("listening on"), start)
            .with_container_name(name.clone())
            .with_mapped_port(port, 3000.tcp())
            .start()
            .await
            .expect("a container runs TigerBeetle");
        Self { port, running }
    }
}

/// A cluster of three replicas, which can be killed and paused one by one, behind a network that can fail.
pub struct Cluster {
    ports: [u16; 3],
    network: Network,
    children: [Option<Child>; 3],
    folder: TempDir,
}

impl Cluster {
    /// Starts the replicas, and links for so many services.
    pub async fn start(services: usize) -> Self {
        eprintln!("starting TigerBeetle as three local processes: {}", binary().display());
        let folder = TempDir::new().expect("a temporary folder");
        let ports = [free_port(), free_port(), free_port()];
        let network = Network::of(&ports, services).await;
        let mut cluster = Self { ports, network, children: [None, None, None], folder };
        for replica in 0..3 {
            let formatted = Command::new(binary())
                .args(["format", "--cluster=0", "--replica-count=3", "--development"])
                .arg(format!("--replica={replica}"))
                .arg(cluster.file(replica))
                .stderr(Stdio::null())
                .status()
                .await;
            assert!(formatted.expect("the server's program runs").success(), "a data file is formatted");
        }
        for replica in 0..3 {
            cluster.run(replica).await;
        }
        cluster
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The addresses of the replicas, past the network that can fail.
    pub fn addresses(&self) -> [String; 3] {
        self.ports.map(|port| format!("127.0.0.1:{port}"))
    }

    fn file(&self, replica: usize) -> PathBuf {
        self.folder.path().join(format!("0_{replica}.tigerbeetle"))
    }

    pub async fn run(&mut self, replica: usize) {
        let child = Command::new(binary())
            .args(START)
            .arg(format!("--addresses={}", self.network.addresses(replica)))
            .arg(self.file(replica))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        self.children[replica] = Some(child.expect("the server's program runs"));
    }

    pub async fn kill(&mut self, replica: usize) {
        if let Some(mut child) = self.children[replica].take() {
            child.kill().await.expect("it was running");
        }
    }

    pub async fn pause(&self, replica: usize) {
        self.signal(replica, "-STOP").await;
    }

    pub async fn resume(&self, replica: usize) {
        self.signal(replica, "-CONT").await;
    }

    async fn signal(&self, replica: usize, signal: &str) {
        let id = self.children[replica].as_ref().and_then(Child::id).expect("it is running");
        let sent = Command::new("kill").args([signal, &id.to_string()]).status().await;
        assert!(sent.expect("kill runs").success());
    }
}

/// The address of the server that most tests share. Each test uses a ledger number of its own.
pub async fn shared() -> &'static str {
    static SHARED: OnceCell<String> = OnceCell::const_new();
    SHARED.get_or_init(|| async { start_shared().await }).await
}

/// Starts the shared server on a runtime of its own, because it outlives the test that starts it.
async fn start_shared() -> String {
    let (started, address) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            if std::env::var("TIGERBEETLE_IMAGE").is_ok_and(|image| !image.is_empty()) {
                let server = Server::start().await;
                started.send(server.address()).expect("the test waits");
                std::future::pending::<()>().await;
            } else {
                let (port, _process, _folder) = start_bound_to_this_process().await;
                started.send(format!("127.0.0.1:{port}")).expect("the test waits");
                std::future::pending::<()>().await;
            }
        });
    });
    address.await.expect("TigerBeetle starts")
}

/// Starts a server that ends with this process, however this process ends. With the address 0 the server takes a free
/// port, prints it, and ends when its standard input closes.
async fn start_bound_to_this_process() -> (u16, Child, TempDir) {
    eprintln!("starting TigerBeetle as a local process: {}", binary().display());
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join(DATA_FILE);
    format(&file).await;
    let mut child = Command::new(binary())
        .args(START)
        .arg("--addresses=0")
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server's program runs");
    let stdout = child.stdout.take().expect("it is piped");
    let line = BufReader::new(stdout).lines().next_line().await.expect("it can be read");
    let port = line.and_then(|line| line.trim().parse().ok()).expect("the server prints its port");
    (port, child, folder)
}

async fn format(file: &std::path::Path) {
    let formatted = Command::new(binary()).args(FORMAT).arg(file).stderr(Stdio::null()).status().await;
    assert!(formatted.expect("the server's program runs").success(), "a data file is formatted");
}

/// The path of the server's program.
fn binary() -> PathBuf {
    let path = std::env::var_os("TB_BIN").expect("TB_BIN names the TigerBeetle server; scripts/test sets it");
    PathBuf::from(path)
}

/// The ports that no connection is given as its own: the range begins above them, on Linux as it comes.
const PORTS_OF_LISTENERS: std::ops::Range<u16> = 12_000..32_000;

/// A port on which no process listens. Another process may take it before it is used; the test then fails to start.
pub fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut random = std::iter::repeat_with(|| rand::random_range(PORTS_OF_LISTENERS));
    random.find(is_free).expect("a free port")
}
