//! Runs the `ratelimiterd` program as a process.

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::server::free_port;

/// A service process. It can be killed and run again on its address, and is killed on drop.
pub struct Service {
    address: String,
    /// The arguments that name the cluster.
    tigerbeetle: Vec<String>,
    client: Client,
    child: Option<Child>,
    folder: TempDir,
}

impl Service {
    /// The `server.request_timeout_ms` of the service.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_000);

    /// Starts a service and waits until it listens. `tigerbeetle` is the address of a TigerBeetle, which need not run
    /// yet.
    pub async fn start(tigerbeetle: &str) -> Self {
        Self::start_seeded(tigerbeetle, &Value::Array(Vec::new())).await
    }

    /// Starts a service with this registry file; see [`Service::start`].
    pub async fn start_seeded(tigerbeetle: &str, registry: &Value) -> Self {
        Self::start_with(&["--tigerbeetle-addresses", tigerbeetle], registry).await
    }

    /// Starts a service with these arguments about TigerBeetle, and waits until it listens.
    pub async fn start_with(tigerbeetle: &[&str], registry: &Value) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("registry.json"), registry.to_string()).expect("a registry file");
        let client = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        let address = format!("127.0.0.1:{}", free_port());
        let tigerbeetle = tigerbeetle.iter().map(|&argument| argument.to_owned()).collect();
        let mut service = Self { address, tigerbeetle, client, child: None, folder };
        service.run().await;
        service
    }

    /// Runs the service on its address and waits until it listens.
    pub async fn run(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let child = Command::new(env!("CARGO_BIN_EXE_ratelimiterd"))
            .args(["serve", "--server-listen-addr", &self.address])
            .args(&self.tigerbeetle)
            .args(["--server-request-timeout-ms", &Self::REQUEST_TIMEOUT.as_millis().to_string()])
            .arg("--registry-path")
            .arg(self.folder.path().join("registry.json"))
            .stderr(Stdio::from(log.expect("a log file")))
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.expect("the service's program runs"));
        let listens = || async { self.client.get(format!("{}/healthz", self.base())).send().await.is_ok() };
        crate::fixtures::eventually("the service listens", Duration::from_secs(10), listens).await;
    }

    /// Waits until the service is ready: its ledger answers.
    pub async fn ready(&self) {
        let is_ready = || async { self.get("/readyz").await.0 == StatusCode::OK };
        crate::fixtures::eventually("the service is ready", Duration::from_secs(30), is_ready).await;
    }

    /// Runs the service on its address and waits until it is ready.
    pub async fn run_until_ready(&mut self) {
        self.run().await;
        self.ready().await;
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn request_timeout(&self) -> Duration {
        Self::REQUEST_TIMEOUT
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        send(self.client.get(format!("{}{path}", self.base()))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        send(self.client.post(format!("{}{path}", self.base())).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        send(self.client.put(format!("{}{path}", self.base())).json(body)).await
    }

    /// Stops the service, as an upgrade would: it answers what it has begun.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let id = child.id().expect("it is running");
        let sent = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
        assert!(sent.expect("kill runs").success());
        let ended = tokio::time::timeout(Duration::from_secs(30), child.wait()).await;
        assert!(ended.expect("it ends within its time").expect("it was running").success());
    }

    /// Kills the service, as a crash would.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("it was running");
        }
    }
}

async fn send(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.expect("the service answers");
    (response.status(), response.json().await.expect("the answer is JSON"))
}
