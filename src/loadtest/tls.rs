//! The flags for targets over TLS.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, ArgMatches, value_parser};
use ledger_limiter::client::TlsOptions;
use tokio_rustls::rustls::ClientConfig;

use crate::settings::SettingsError;

const CA_FILE: &str = "ca-file";
const CERTIFICATE: &str = "client-certificate";
const KEY: &str = "client-key";

pub(crate) fn flags() -> [Arg; 3] {
    let file = |name: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name).value_name("FILE").help(help);
        arg.value_parser(value_parser!(PathBuf)).conflicts_with("backend")
    };
    [
        file(CA_FILE, "A PEM file of the certificates to trust, instead of those of the system"),
        file(CERTIFICATE, "The certificate to show to the service, in PEM").requires(KEY),
        file(KEY, "The key of the certificate to show, in PEM").requires(CERTIFICATE),
    ]
}

/// What the flags for TLS say; `None` if the target is not called over TLS.
pub(crate) fn from_matches(
    matches: &ArgMatches,
    is_over_tls: bool,
) -> Result<Option<Arc<ClientConfig>>, SettingsError> {
    let path = |name| matches.get_one::<PathBuf>(name);
    let ca_file = path(CA_FILE);
    let certificate = path(CERTIFICATE).zip(path(KEY));
    if !is_over_tls {
        if ca_file.is_none() && certificate.is_none() {
            return Ok(None);
        }
        let message = "must be an https URL with --ca-file or --client-certificate".to_owned();
        return Err(SettingsError::Flag { flag: "target", message });
    }
    let mut options = TlsOptions::default();
    if let Some(ca_file) = ca_file {
        options = options.ca_file(ca_file);
    }
    if let Some((certificate, key)) = certificate {
        options = options.certificate(certificate, key);
    }
    Ok(Some(Arc::new(options.config()?)))
}
