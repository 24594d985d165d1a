//! `tls.*`: the certificate of the service, and those of its clients.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::bad;

/// `tls.*`: the certificate of the service, and those of its clients. An empty path names no file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// The certificate chain of the service, as PEM.
    pub certificate_path: PathBuf,
    /// Its private key, as PEM.
    pub key_path: PathBuf,
    /// The authorities that sign the certificates of clients, as PEM.
    pub client_ca_path: PathBuf,
    /// Whether clients show a certificate.
    pub client_certificates: ClientCertificates,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// They are not asked for one.
    #[default]
    Off,
    /// A client may show one, which must be valid.
    Optional,
    /// A client without a valid one is refused.
    Required,
}

impl TlsSettings {
    /// Whether the service speaks TLS.
    pub fn is_on(&self) -> bool {
        !is_empty(&self.certificate_path)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.is_on() && is_empty(&self.key_path) {
            return Err(bad("tls.key_path", "must name the private key of tls.certificate_path"));
        }
        if !self.is_on() && !is_empty(&self.key_path) {
            return Err(bad("tls.certificate_path", "must name the certificate of tls.key_path"));
        }
        let asks_clients = match self.client_certificates {
            ClientCertificates::Off => false,
            ClientCertificates::Optional | ClientCertificates::Required => true,
        };
        if asks_clients && !self.is_on() {
            return Err(bad("tls.client_certificates", "needs tls.certificate_path"));
        }
        if asks_clients && is_empty(&self.client_ca_path) {
            return Err(bad(
                "tls.client_ca_path",
                "must name the authorities that tls.client_certificates trusts",
            ));
        }
        if !asks_clients && !is_empty(&self.client_ca_path) {
            return Err(bad(
                "tls.client_certificates",
                "must be \"optional\" or \"required\" if tls.client_ca_path is set",
            ));
        }
        Ok(())
    }
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}
