//! The `ratelimiterd` program as a process of its own.

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::server::free_port;

const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_000);

/// A running service; it is killed when this is dropped.
pub struct Service {
    base: String,
    client: Client,
    child: Child,
    _folder: TempDir,
}

impl Service {
    /// Starts it in front of a TigerBeetle, which need not be there; answers once it listens.
    pub async fn start(tigerbeetle: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let address = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::create(folder.path().join("log")).expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_ratelimiterd"))
            .args(["serve", "--server-listen-addr", &address, "--tigerbeetle-addresses", tigerbeetle])
            .args(["--server-request-timeout-ms", &REQUEST_TIMEOUT.as_millis().to_string()])
            .arg("--registry-path")
            .arg(folder.path().join("registry.json"))
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .expect("the service's program runs");
        let client = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        let service = Self { base: format!("http://{address}"), client, child, _folder: folder };
        let listens =
            || async { service.client.get(format!("{}/healthz", service.base)).send().await.is_ok() };
        crate::fixtures::eventually("the service listens", Duration::from_secs(10), listens).await;
        service
    }

    pub fn request_timeout(&self) -> Duration {
        REQUEST_TIMEOUT
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        send(self.client.get(format!("{}{path}", self.base))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        send(self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        send(self.client.put(format!("{}{path}", self.base)).json(body)).await
    }

    /// Kills it, as a crash would.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it was running");
    }
}

async fn send(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.expect("the service answers");
    (response.status(), response.json().await.expect("the answer is JSON"))
}
