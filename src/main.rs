//! The `ratelimiterd` program: parses the command line, runs, and answers with an exit code.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use ledger_limiter::server::config::{self, ConfigError, LogFormat, Settings};
use ledger_limiter::server::probe::{ProbeError, probe};
use ledger_limiter::server::{self, AppError};
use ledger_limiter::telemetry::with_sources;
use tracing_subscriber::EnvFilter;

/// Names the configuration file. It is not a setting itself.
const CONFIG_VARIABLE: &str = "RATELIMITERD_CONFIG";

/// The default address of `probe`.
const PROBE_ADDRESS: &str = "127.0.0.1:8080";

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
enum MainError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("setting log.filter: {0}")]
    LogFilter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the async runtime could not be started")]
    Runtime(#[source] std::io::Error),
    #[error("the signal handlers could not be installed")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    App(#[from] AppError),
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let result = match matches.subcommand() {
        Some(("serve", matches)) => read_settings(matches).map_err(MainError::from).and_then(serve),
        Some(("check-config", matches)) => read_settings(matches).map_err(MainError::from).map(|_| {
            // The exit code is the answer: a closed standard output does not matter.
            writeln!(std::io::stdout(), "the configuration is valid").ok();
        }),
        Some(("probe", matches)) => {
            let address = matches.get_one::<String>("address").map_or(PROBE_ADDRESS, String::as_str);
            probe(address).map_err(MainError::from)
        }
        // The parser accepts no other command.
        Some(_) | None => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {}", with_sources(&error)).ok();
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let with_settings = |command: Command| {
        let config = Arg::new("config")
            .long("config")
            .env(CONFIG_VARIABLE)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("The configuration file, in TOML; without it the defaults apply");
        config::names().into_iter().fold(command.arg(config), |command, (name, default)| {
            command.arg(
                Arg::new(name.clone())
                    .long(config::flag(&name))
                    .env(config::variable(&name))
                    .value_name("VALUE")
                    .hide_env_values(true)
                    .help(format!("{name} [default: {default}]")),
            )
        })
    };
    Command::new("ratelimiterd")
        .about("A distributed rate and quota limiter whose counters are a TigerBeetle ledger")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(Command::new("serve").about("Serves the HTTP API")))
        .subcommand(with_settings(
            Command::new("check-config").about("Checks the configuration as serve would read it"),
        ))
        .subcommand(
            Command::new("probe").about("Exits with 0 if a running ratelimiterd is ready").arg(
                Arg::new("address").long("address").value_name("HOST:PORT").default_value(PROBE_ADDRESS),
            ),
        )
}

fn read_settings(matches: &ArgMatches) -> Result<Settings, ConfigError> {
    let names = config::names();
    let known: Vec<String> = names.keys().map(|name| config::variable(name)).collect();
    let unknown = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with(config::VARIABLE_PREFIX) && !is_of_orchestrator(name))
        .find(|name| name != CONFIG_VARIABLE && !known.contains(name));
    if let Some(unknown) = unknown {
        return Err(ConfigError::UnknownVariable(unknown));
    }
    let overrides: Vec<(String, String)> = names
        .keys()
        .filter_map(|name| matches.get_one::<String>(name).map(|text| (name.clone(), text.clone())))
        .collect();
    match matches.get_one::<PathBuf>("config") {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            Settings::parse(path, &text, &overrides)
        }
        None => Settings::parse(Path::new("defaults"), "", &overrides),
    }
}

/// Kubernetes sets variables of these names in every pod beside a service named ratelimiterd.
fn is_of_orchestrator(name: &str) -> bool {
    ["RATELIMITERD_SERVICE_", "RATELIMITERD_PORT"].iter().any(|prefix| name.starts_with(prefix))
}

fn serve(settings: Settings) -> Result<(), MainError> {
    let filter = EnvFilter::try_new(&settings.log.filter)?;
    // Only a terminal gets colours.
    let colours = std::io::stderr().is_terminal();
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match settings.log.format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(MainError::Runtime)?;
    runtime.block_on(async {
        let stop = stop_signal()?;
        Ok(server::serve(settings, stop).await?)
    })
}

/// Resolves when the process receives SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()> + Send, MainError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(MainError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(MainError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
