//! The program `ratelimiterd`: reads the command line, runs a subcommand, and ends with an exit code.

#[cfg(feature = "cli")]
mod cli;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ledger_limiter::server::auth::{Authenticator, CredentialsError, NewToken, NewTokenError, Scope};
use ledger_limiter::server::config::{self, ConfigError, LogFormat, LogSettings, Settings};
use ledger_limiter::server::probe::{ProbeError, ProbeTls, probe};
use ledger_limiter::server::{CappedLog, Hangup, ServeError, serve, stop_signal};
#[cfg(feature = "otlp")]
use ledger_limiter::server::{Otlp, OtlpError};
use ledger_limiter::telemetry::with_sources;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// The address that `probe` asks by default.
const PROBE_ADDRESS: &str = "127.0.0.1:8080";

/// The exit code of a difference, as that of `diff`.
#[cfg(feature = "cli")]
const DIFFERS: u8 = 2;

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
enum MainError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("setting log.filter: {0}")]
    LogFilter(#[from] tracing_subscriber::filter::ParseError),
    #[error("cannot start the threads of the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot install the handlers of SIGTERM, SIGINT and SIGHUP")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("--{flag}: {message}")]
    Flag { flag: &'static str, message: String },
    #[error("cannot make a token")]
    NewToken(#[from] NewTokenError),
    #[error("the token could not be printed; remove its entry from the file and make another one")]
    Print(#[source] std::io::Error),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[cfg(feature = "otlp")]
    #[error("cannot use the settings of otlp.*")]
    Otlp(#[from] OtlpError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Cli(#[from] cli::CliError),
}

fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return show_usage(&error),
    };
    #[cfg(feature = "cli")]
    if let Some(ended) = matches.subcommand().and_then(|(name, matches)| run_cli(name, matches)) {
        return match ended {
            Ok(cli::Exit::Done) => ExitCode::SUCCESS,
            Ok(cli::Exit::Differs) => ExitCode::from(DIFFERS),
            #[cfg(feature = "tigerbeetle")]
            Ok(cli::Exit::Violated) => ExitCode::FAILURE,
            #[cfg(feature = "tigerbeetle")]
            Ok(cli::Exit::NotUnderstood) => ExitCode::from(DIFFERS),
            Err(MainError::Cli(error)) if error.is_closed_output() => ExitCode::FAILURE,
            Err(error) => failure(&error),
        };
    }
    let result = match matches.subcommand() {
        Some(("serve", matches)) => read_settings(matches).map_err(MainError::from).and_then(run),
        Some(("check-config", matches)) => check_config(matches).map(|()| {
            // A closed standard output is no error: the exit code is the answer.
            writeln!(std::io::stdout(), "the configuration is valid").ok();
        }),
        Some(("token", matches)) => match matches.subcommand() {
            Some(("new", matches)) => new_token(matches),
            Some(_) | None => Ok(()),
        },
        Some(("probe", matches)) => run_probe(matches),
        // clap accepts no other subcommand, and requires one.
        Some(_) | None => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&error),
    }
}

/// Runs a subcommand for operators; `None` if `name` is none of them.
#[cfg(feature = "cli")]
fn run_cli(name: &str, matches: &ArgMatches) -> Option<Result<cli::Exit, MainError>> {
    #[cfg(feature = "tigerbeetle")]
    if name == cli::audit::NAME {
        let settings = read_settings(matches).map_err(MainError::from);
        return Some(settings.and_then(|settings| Ok(cli::audit::run(&settings.tigerbeetle, matches)?)));
    }
    cli::run(name, matches, command()).map(|ended| ended.map_err(MainError::from))
}

fn failure(error: &MainError) -> ExitCode {
    // Without a reader of standard error there is nobody to tell.
    writeln!(std::io::stderr(), "error: {}", with_sources(error)).ok();
    ExitCode::FAILURE
}

/// Shows help, the version, or what is wrong with the command line. clap would exit with 2, which means a difference here.
fn show_usage(error: &clap::Error) -> ExitCode {
    let is_printed = error.print().is_ok();
    if is_printed && !error.use_stderr() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn command() -> Command {
    let with_settings = |command: Command| {
        let config = Arg::new("config")
            .long("config")
            .env(config::CONFIG_VARIABLE)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("TOML file with settings; ratelimiterd.toml describes each setting");
        config::names().into_iter().fold(command.arg(config), |command, (name, default)| {
            command.arg(
                Arg::new(name.clone())
                    .long(config::flag(&name))
                    .env(config::variable(&name))
                    .value_name("VALUE")
                    .hide_env_values(true)
                    .help(format!("Setting {name} [default: {default}]")),
            )
        })
    };
    let command = Command::new("ratelimiterd")
        .about("A distributed rate and quota limiter whose counters are a TigerBeetle ledger")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(
            Command::new("serve").about("Serves the HTTP API until SIGTERM, SIGINT or, without TLS, SIGHUP"),
        ))
        .subcommand(with_settings(
            Command::new("check-config")
                .about("Checks the settings that serve would use, and names a bad one"),
        ))
        .subcommand(
            Command::new("token")
                .about("Makes tokens for callers")
                .subcommand_required(true)
                .subcommand(new_token_command()),
        )
        .subcommand(probe_command());
    #[cfg(all(feature = "cli", feature = "tigerbeetle"))]
    let command = command.subcommand(with_settings(cli::audit::command()));
    #[cfg(feature = "cli")]
    let command = command.subcommands(cli::commands());
    command
}

/// A flag with a value.
fn arg(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn probe_command() -> Command {
    let file = |name, help| arg(name, "FILE", help).value_parser(value_parser!(PathBuf));
    Command::new("probe")
        .about("Exits with 0 if a running ratelimiterd is ready")
        .arg(arg("address", "HOST:PORT", "Address of the ratelimiterd").default_value(PROBE_ADDRESS))
        .arg(
            Arg::new("tls")
                .long("tls")
                .action(ArgAction::SetTrue)
                .help("Asks over TLS, and trusts the certificates of the system; the flags below include it"),
        )
        .arg(file("ca-file", "Trusts the certificates of this PEM file, and not those of the system"))
        .arg(arg(
            "server-name",
            "NAME",
            "Name in the certificate of the service [default: the HOST of --address]",
        ))
        .arg(file("client-certificate", "Shows this certificate, in PEM").requires("client-key"))
        .arg(file("client-key", "Key of the certificate to show, in PEM").requires("client-certificate"))
}

/// Asks whether a service is ready. A flag for TLS without `--tls` asks over TLS, too.
fn run_probe(matches: &ArgMatches) -> Result<(), MainError> {
    let address = matches.get_one::<String>("address").map_or(PROBE_ADDRESS, String::as_str);
    let path = |name| matches.get_one::<PathBuf>(name);
    let (ca_file, server_name) = (path("ca-file"), matches.get_one::<String>("server-name"));
    let certificate = path("client-certificate").zip(path("client-key"));
    let is_over_tls =
        matches.get_flag("tls") || ca_file.is_some() || server_name.is_some() || certificate.is_some();
    let mut tls = ProbeTls { server_name: server_name.cloned(), ..ProbeTls::default() };
    if let Some(ca_file) = ca_file {
        tls.options = tls.options.ca_file(ca_file);
    }
    if let Some((certificate, key)) = certificate {
        tls.options = tls.options.certificate(certificate, key);
    }
    Ok(probe(address, is_over_tls.then_some(&tls))?)
}

fn new_token_command() -> Command {
    Command::new("new")
        .about("Prints a new token, once, and the entry for the file that auth.tokens_path names")
        .arg(arg("name", "NAME", "Names the holder in logs").required(true))
        .arg(
            arg("scope", "SCOPES", "What the holder may do, with commas between: reserve, read, admin, metrics")
                .required(true)
                .value_delimiter(','),
        )
        .arg(
            arg("keys", "PATTERN", "A key or form of keys that the holder may use, such as tenant:acme:*; can be repeated [default: all]")
                .action(ArgAction::Append),
        )
        .arg(arg("expires", "TIME", "After what time the token ends, such as 90d [default: never]"))
        .arg(
            arg("write", "FILE", "Appends the entry to this file instead of printing it")
                .value_parser(value_parser!(PathBuf)),
        )
}

/// Makes a token. The token alone goes to standard output if its entry goes to a file.
fn new_token(matches: &ArgMatches) -> Result<(), MainError> {
    let texts = |name| matches.get_many::<String>(name).into_iter().flatten();
    let flag = |flag, message| MainError::Flag { flag, message };
    let scope = |text: &String| {
        let scope = Scope::parse(text.trim());
        scope.ok_or_else(|| flag("scope", format!("{text:?} is not reserve, read, admin or metrics")))
    };
    let expires = matches.get_one::<String>("expires").map(|text| humantime::parse_duration(text));
    let new = NewToken {
        name: matches.get_one::<String>("name").cloned().unwrap_or_default(),
        scopes: texts("scope").map(scope).collect::<Result<_, _>>()?,
        keys: texts("keys").cloned().collect(),
        expires_after: expires.transpose().map_err(|error| flag("expires", error.to_string()))?,
    };
    let (token, entry) = new.make()?;
    let mut out = std::io::stdout();
    let printed = match matches.get_one::<PathBuf>("write") {
        Some(path) => {
            entry.append_to(path)?;
            writeln!(out, "{}", token.reveal())
        }
        None => {
            let entry = entry.to_toml().map_err(NewTokenError::from)?;
            writeln!(out, "{}\n\n{entry}", token.reveal())
        }
    };
    printed.map_err(MainError::Print)
}

/// Checks the settings, and the files of tokens and keys that they name.
fn check_config(matches: &ArgMatches) -> Result<(), MainError> {
    let settings = read_settings(matches)?;
    Authenticator::new(&settings.auth, settings.server.is_exposed())?;
    Ok(())
}

fn read_settings(matches: &ArgMatches) -> Result<Settings, ConfigError> {
    config::check_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))?;
    // clap has read the variables of the settings; a flag wins over a variable.
    let overrides: Vec<(String, String)> = config::names()
        .into_keys()
        .filter_map(|name| matches.get_one::<String>(&name).cloned().map(|text| (name, text)))
        .collect();
    Settings::read(matches.get_one::<PathBuf>("config").map(PathBuf::as_path), &overrides)
}

fn run(settings: Settings) -> Result<(), MainError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(MainError::Runtime)?;
    #[cfg(feature = "otlp")]
    let otlp =
        settings.otlp.is_on().then(|| Otlp::new(&settings.otlp, runtime.handle().clone())).transpose()?;
    let log = log_layer(&settings.log)?;
    let subscriber = tracing_subscriber::registry().with(log);
    #[cfg(feature = "otlp")]
    match &otlp {
        Some(otlp) => subscriber.with(otlp.layer(EnvFilter::try_new(&settings.log.filter)?)).init(),
        None => subscriber.init(),
    }
    #[cfg(not(feature = "otlp"))]
    subscriber.init();
    let served = runtime.block_on(async {
        let hangup = if settings.tls.is_on() { Hangup::Reloads } else { Hangup::Stops };
        let stop = stop_signal(hangup).map_err(MainError::Signals)?;
        Ok(serve(settings, stop).await?)
    });
    #[cfg(feature = "otlp")]
    if let Some(otlp) = otlp {
        otlp.shutdown();
    }
    served
}

/// Sends log lines to standard error, with colours only on a terminal.
fn log_layer<S>(settings: &LogSettings) -> Result<Box<dyn Layer<S> + Send + Sync>, MainError>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = EnvFilter::try_new(&settings.filter)?;
    let colours = std::io::stderr().is_terminal();
    let out = CappedLog::new(std::io::stderr(), settings.bytes_per_second_max, settings.format);
    let log = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(out);
    Ok(match settings.format {
        LogFormat::Text => log.with_filter(filter).boxed(),
        LogFormat::Json => log.json().with_filter(filter).boxed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }
}
