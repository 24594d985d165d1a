//! What a service asks of its callers: a token, TLS, both or nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use ledger_limiter::server::probe::{ProbeTls, probe};
use ledger_limiter::tls::TlsOptions;

use crate::failure::Failure;
use crate::processes::run;

const TOKENS: &str = "tokens.toml";
const TOKEN: &str = "token";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// What a service asks of its callers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// A token with every scope.
    pub(crate) token: bool,
    pub(crate) tls: bool,
}

impl Access {
    /// Writes the files of both sides into the folder. Returns the flags of the service, which runs in the folder.
    pub(crate) fn set_up(self, folder: &Path) -> Result<Vec<String>, Failure> {
        let mut flags = Vec::new();
        if self.token {
            let mut new_token = Command::new(env!("CARGO_BIN_EXE_ratelimiterd"));
            new_token.current_dir(folder).args(["token", "new", "--name", "bench", "--write", TOKENS]);
            let token = run(new_token.args(["--scope", "reserve,read,admin,metrics"]))?;
            write(&folder.join(TOKEN), &token)?;
            flags.extend(["--auth-tokens-path", TOKENS]);
        }
        if self.tls {
            let signed = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]);
            let signed = signed.map_err(|error| Failure::invalid(&error))?;
            write(&folder.join(CERTIFICATE), &signed.cert.pem())?;
            write(&folder.join(KEY), &signed.signing_key.serialize_pem())?;
            flags.extend(["--tls-certificate-path", CERTIFICATE, "--tls-key-path", KEY]);
        }
        Ok(flags.into_iter().map(str::to_owned).collect())
    }

    /// The flags with which the load generator calls the service at this address.
    pub(crate) fn load_flags(self, address: &str, folder: &Path) -> Vec<PathBuf> {
        let scheme = if self.tls { "https" } else { "http" };
        let mut flags: Vec<PathBuf> = vec!["--target".into(), format!("{scheme}://{address}").into()];
        if self.token {
            flags.extend(["--token-file".into(), folder.join(TOKEN)]);
        }
        if self.tls {
            flags.extend(["--ca-file".into(), folder.join(CERTIFICATE)]);
        }
        flags
    }

    /// Whether the service at this address is ready.
    pub(crate) fn is_ready(self, address: &str, folder: &Path) -> bool {
        let options = TlsOptions::default().ca_file(folder.join(CERTIFICATE));
        let tls = self.tls.then_some(ProbeTls { options, server_name: None });
        probe(address, tls.as_ref()).is_ok()
    }
}

fn write(path: &Path, content: &str) -> Result<(), Failure> {
    std::fs::write(path, content).map_err(Failure::file("a file of the service cannot be written"))
}
