//! Starting TigerBeetle for tests.

use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

/// The server that most tests share, each with a ledger number of its own.
pub async fn shared() -> &'static str {
    static SHARED: OnceCell<String> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            // It runs until the test process ends: its standard input closes with it then.
            let (sender, receiver) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let process = Process::start().await;
                    sender.send(process.address.clone()).expect("the test waits");
                    std::future::pending::<()>().await;
                });
            });
            receiver.recv().expect("TigerBeetle starts")
        })
        .await
}

/// The server's program, as the scripts set it up.
pub fn binary() -> PathBuf {
    let path =
        std::env::var_os("TB_BIN").expect("TB_BIN names the TigerBeetle server; ./scripts/test sets it");
    PathBuf::from(path)
}

/// A single-replica server as a local process.
pub struct Process {
    pub address: String,
    _child: Child,
    _folder: TempDir,
}

impl Process {
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("0_0.tigerbeetle");
        let formatted = Command::new(binary())
            .args(["format", "--cluster=0", "--replica=0", "--replica-count=1", "--development"])
            .arg(&file)
            .stderr(Stdio::null())
            .status()
            .await
            .expect("the server's program runs");
        assert!(formatted.success(), "a data file is formatted");
        let mut child = Command::new(binary())
            .args(["start", "--addresses=0", "--development"])
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the server's program runs");
        let stdout = child.stdout.take().expect("it is piped");
        let port = BufReader::new(stdout).lines().next_line().await.expect("it can be read").expect("a port");
        Self { address: format!("127.0.0.1:{}", port.trim()), _child: child, _folder: folder }
    }
}
