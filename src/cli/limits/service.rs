//! The service that the commands talk to: its flags, and what is read from it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, value_parser};
use ledger_limiter::client::{BearerToken, Definition, Http, HttpOptions, LimitsOf, TlsOptions};
use ledger_limiter::server::config::{SERVER_URL_VARIABLE, TOKEN_FILE_VARIABLE};

use super::LimitsError;
use super::plan::{Present, Scope};

const SERVER: &str = "server";
const TOKEN_FILE: &str = "token-file";
const CA_FILE: &str = "ca-file";
const CERTIFICATE: &str = "client-certificate";
const KEY: &str = "client-key";
const TIMEOUT: &str = "request-timeout-seconds";

/// The flags of every command.
pub(in crate::cli) fn flags() -> [Arg; 6] {
    let flag = |name: &'static str, value, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).global(true).help_heading("Service")
    };
    let file = |name, help| flag(name, "FILE", help).value_parser(value_parser!(PathBuf));
    [
        flag(SERVER, "URL", "The service, http://HOST:PORT or https://HOST:PORT")
            .env(SERVER_URL_VARIABLE)
            .hide_env_values(true)
            .default_value("http://127.0.0.1:8080"),
        file(TOKEN_FILE, "A file with the token to send; it needs the scope read, and admin for changes")
            .env(TOKEN_FILE_VARIABLE)
            .hide_env_values(true),
        file(CA_FILE, "Trusts the certificates of this PEM file, and not those of the system"),
        file(CERTIFICATE, "Shows this certificate, in PEM").requires(KEY),
        file(KEY, "Key of the certificate to show, in PEM").requires(CERTIFICATE),
        flag(TIMEOUT, "N", "How long one request may take, in seconds")
            .default_value("10")
            .value_parser(value_parser!(u64).range(1..=3_600)),
    ]
}

/// The client that the flags describe. Nothing is sent yet.
pub(in crate::cli) fn connect(matches: &ArgMatches) -> Result<Http, LimitsError> {
    let path = |name| matches.get_one::<PathBuf>(name);
    let mut tls = TlsOptions::default();
    if let Some(ca_file) = path(CA_FILE) {
        tls = tls.ca_file(ca_file);
    }
    if let Some((certificate, key)) = path(CERTIFICATE).zip(path(KEY)) {
        tls = tls.certificate(certificate, key);
    }
    let timeout = Duration::from_secs(matches.get_one(TIMEOUT).copied().unwrap_or(10));
    let mut options = HttpOptions::default().tls(tls).request_timeout(timeout);
    if let Some(path) = path(TOKEN_FILE) {
        options = options.token(BearerToken::read(path)?);
    }
    Ok(Http::with_options(url(matches), options)?)
}

/// The address of the service.
pub(in crate::cli) fn url(matches: &ArgMatches) -> &str {
    matches.get_one::<String>(SERVER).map_or("", String::as_str)
}

/// The limits that a plan for these definitions has to know: those of the scope, or no more than begin as all wanted keys do.
pub(super) async fn present(
    http: &Http,
    wanted: &[Definition],
    scope: &Scope,
) -> Result<Vec<Present>, LimitsError> {
    let prefix = if scope.prunes { scope.prefix.clone() } else { common_prefix(wanted) };
    let limits = http.limits(&LimitsOf { prefix, template: None }).await;
    let limits = limits.map_err(LimitsError::call("reading the limits"))?;
    Ok(limits.into_iter().map(Present::of).collect::<Result<_, _>>()?)
}

/// What all keys begin with.
fn common_prefix(definitions: &[Definition]) -> String {
    let mut keys = definitions.iter().map(|definition| definition.key.as_str());
    let Some(first) = keys.next() else { return String::new() };
    let same = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let length = keys.fold(first.len(), |length, key| length.min(same(first, key)));
    // Keys are ASCII.
    first.get(..length).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::rolling;
    use super::*;

    #[test]
    fn limits_are_read_from_the_common_prefix_of_the_wanted_keys() {
        for (keys, prefix) in [
            (&[][..], ""),
            (&["tenant:acme"], "tenant:acme"),
            (&["tenant:acme:tpm", "tenant:bob:tpm"], "tenant:"),
            (&["a:b", "a"], "a"),
            (&["a", "b"], ""),
        ] {
            let wanted: Vec<Definition> = keys.iter().map(|key| rolling(key, 1)).collect();
            assert_eq!(common_prefix(&wanted), prefix);
        }
    }
}
