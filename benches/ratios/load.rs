//! Load over HTTP, made by this project's load generator.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::failure::Failure;
use crate::processes::{Echo, Service, folder, run};

/// The settings of one load.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// The flags that say whom to call.
    pub(crate) target: Vec<PathBuf>,
    pub(crate) calls: Calls,
    pub(crate) connections: usize,
    /// The number of calls in a request.
    pub(crate) batch: usize,
    pub(crate) limits: usize,
    pub(crate) window_seconds: u64,
    pub(crate) capacity: u64,
    pub(crate) delegate: Delegate,
    /// The reserves offered per second; `None` for as many as are answered.
    pub(crate) rate: Option<u64>,
    /// Whether a denied call is retried after its hint.
    pub(crate) is_retrying: bool,
    pub(crate) warmup_seconds: u64,
    pub(crate) seconds: u64,
}

/// The kind of each call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Calls {
    /// A reserve on one limit.
    One,
    /// A reserve on the four limits of a call to a model, completed below its estimate.
    FourCompletedBelow,
}

/// Which limits hand out allotments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Delegate {
    None,
    /// Those that all tenants share.
    Shared,
    All,
}

/// Whether the load generator creates the limits first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    Make,
    /// The limits exist, or the target needs none.
    Keep,
}

/// The report of the load generator.
#[derive(Debug, Deserialize)]
pub(crate) struct Loaded {
    pub(crate) seconds: f64,
    pub(crate) reserves_per_second: f64,
    pub(crate) granted: u64,
    pub(crate) denied: u64,
    conflicts: u64,
    unknown: u64,
    errors: u64,
    reserve_latency_us: Latency,
    /// The counters of the service; `None` for the echo, which has none.
    server: Option<Server>,
}

#[derive(Debug, Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

/// Counters of the service over the measured time.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Server {
    pub(crate) ledger_requests: u64,
    pub(crate) ledger_transfers: u64,
}

impl Load {
    /// A load on the service: 64 connections, each with one reserve in a request, on one of 1,000 limits. Every reserve
    /// is granted, and the window is 2 s.
    pub(crate) fn on(service: &Service) -> Self {
        Self::to(service.load_flags())
    }

    /// The same load on the echo.
    pub(crate) fn on_echo(echo: &Echo) -> Self {
        Self::to(vec!["--target".into(), format!("http://{}", echo.address).into()])
    }

    fn to(target: Vec<PathBuf>) -> Self {
        Self {
            target,
            calls: Calls::One,
            connections: 64,
            batch: 1,
            limits: 1_000,
            window_seconds: 2,
            capacity: 1 << 50,
            delegate: Delegate::None,
            rate: None,
            is_retrying: false,
            warmup_seconds: 1,
            seconds: 3,
        }
    }

    /// Creates the limits, with a second of load whose report is dropped.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        Self { warmup_seconds: 0, seconds: 1, ..self.clone() }.run(Limits::Make).map(drop)
    }

    /// Runs the load. Fails if any outcome is neither a grant nor a denial.
    pub(crate) fn run(&self, limits: Limits) -> Result<Loaded, Failure> {
        let folder = folder()?;
        let file = folder.path().join("load.json");
        // Cargo builds both programs into the same folder.
        let program = Path::new(env!("CARGO_BIN_EXE_ratelimiterd")).with_file_name("ratelimiter-loadtest");
        let mut command = Command::new(program);
        command.args(&self.target).arg("--json").arg(&file);
        command.arg("--duration").arg(format!("{}s", self.seconds));
        command.arg("--warmup").arg(format!("{}s", self.warmup_seconds));
        let numbers = [
            ("--concurrency", self.connections as u64),
            ("--batch", self.batch as u64),
            ("--limits", self.limits as u64),
            ("--window-seconds", self.window_seconds),
            ("--capacity", self.capacity),
        ];
        for (flag, number) in numbers {
            command.arg(flag).arg(number.to_string());
        }
        match self.calls {
            Calls::One => command.args(["--requirements", "1", "--complete", "none"]),
            Calls::FourCompletedBelow => command.args(["--llm", "--complete", "below"]),
        };
        command.arg("--delegate").arg(match self.delegate {
            Delegate::None => "none",
            Delegate::Shared => "shared",
            Delegate::All => "all",
        });
        if let Some(rate) = self.rate {
            command.arg("--rate").arg(rate.to_string());
        }
        if self.is_retrying {
            command.arg("--retry");
        }
        if limits == Limits::Keep {
            command.arg("--no-setup");
        }
        run(&mut command)?;
        let text = std::fs::read_to_string(&file)
            .map_err(Failure::file("the report of the load generator cannot be read"))?;
        let loaded: Loaded = serde_json::from_str(&text)?;
        loaded.check()
    }
}

impl Loaded {
    fn check(self) -> Result<Self, Failure> {
        if self.conflicts + self.unknown + self.errors == 0 && self.granted > 0 {
            Ok(self)
        } else {
            Err(Failure::Load(format!("{self:?}")))
        }
    }

    /// The rate of the reserves. Fails if any was denied.
    pub(crate) fn granted_per_second(&self) -> Result<f64, Failure> {
        if self.denied == 0 { Ok(self.reserves_per_second) } else { Err(Failure::Load(format!("{self:?}"))) }
    }

    pub(crate) fn reserve_p50_us(&self) -> f64 {
        self.reserve_latency_us.p50
    }

    pub(crate) fn reserve_p99_us(&self) -> f64 {
        self.reserve_latency_us.p99
    }

    pub(crate) fn server(&self) -> Result<Server, Failure> {
        self.server.ok_or_else(|| Failure::Load("the service has no counters".to_owned()))
    }
}
