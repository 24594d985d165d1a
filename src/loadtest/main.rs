//! The `ratelimiter-loadtest` program: offers load to a `ratelimiterd`, or to a limiter in this process, and reports
//! rates and latencies.

mod address;
mod caller;
mod connection;
mod flags;
mod http;
mod in_process;
mod measure;
mod pace;
mod progress;
mod report;
mod run;
mod schedule;
mod server_metrics;
mod settings;
mod target;
mod tls;
mod workload;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use ledger_limiter::telemetry::with_sources;

use self::report::Report;
use self::settings::{Settings, SettingsError, TargetSettings};
use self::target::SetupError;

/// Why the program has no report.
#[derive(Debug, thiserror::Error)]
enum MainError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the tokio runtime could not be started")]
    Runtime(#[source] std::io::Error),
    #[error("the target could not be set up")]
    Setup(#[from] SetupError),
    #[error("{path}: the report could not be written")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the target answered no call{}", .0.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
    NoAnswers(Option<String>),
}

fn main() -> ExitCode {
    let settings = Settings::from_matches(&flags::command().get_matches());
    match settings.map_err(MainError::from).and_then(|settings| measure(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {}", with_sources(&error)).ok();
            ExitCode::FAILURE
        }
    }
}

fn measure(settings: &Settings) -> Result<(), MainError> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = settings.threads {
        runtime.worker_threads(threads.get());
    }
    let runtime = runtime.enable_all().build().map_err(MainError::Runtime)?;
    let report = runtime.block_on(load(settings))?;
    writeln!(std::io::stdout(), "{report}").ok();
    if let Some(path) = &settings.json {
        let write = |source| MainError::Write { path: path.clone(), source };
        let text = serde_json::to_vec_pretty(&report).map_err(std::io::Error::from).map_err(write)?;
        std::fs::write(path, text).map_err(write)?;
    }
    if report.is_empty() { Err(MainError::NoAnswers(report.first_error)) } else { Ok(()) }
}

async fn load(settings: &Settings) -> Result<Report<'_>, SetupError> {
    match &settings.target {
        TargetSettings::Http(address) => {
            run::run(
                http::Server::new(address.clone(), settings.token.clone(), settings.tls.clone()),
                settings,
            )
            .await
        }
        TargetSettings::Memory(bounds) => run::run(in_process::memory(*bounds).await?, settings).await,
        #[cfg(feature = "tigerbeetle")]
        TargetSettings::TigerBeetle(tigerbeetle) => {
            run::run(in_process::tigerbeetle(tigerbeetle).await?, settings).await
        }
    }
}
