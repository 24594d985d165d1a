//! TLS of the transport: whom it trusts, and the certificate that it shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Whom the client trusts, and the certificate that it shows. Both are read when the transport is made.
///
/// ```no_run
/// use ledger_limiter::client::{Http, HttpOptions, TlsOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsOptions::default().ca_file("ca.pem").certificate("client.pem", "client.key");
/// let http = Http::with_options("https://limits.example.com:8443", HttpOptions::default().tls(tls))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    ca_file: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsOptionsError {
    /// A file cannot be read, or is no PEM of that kind.
    #[error("{path}: no {what} in PEM can be read")]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// The cause.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate or key is malformed, or they do not fit each other.
    #[error("{path}: the certificate or key cannot be used")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// There is nobody to trust.
    #[error("no root certificate was found on this machine; name a file of them with TlsOptions::ca_file")]
    NoRoots,
    /// The versions of TLS are not supported.
    #[error("the TLS library cannot be used")]
    Library(#[from] rustls::Error),
}

impl TlsOptions {
    /// Trusts the certificates of this PEM file, and no others. By default the client trusts those of the system.
    #[must_use]
    pub fn ca_file(self, path: impl Into<PathBuf>) -> Self {
        Self { ca_file: Some(path.into()), ..self }
    }

    /// Shows a certificate to services that ask for one: the certificate with its chain, and its key, in PEM. None by
    /// default.
    #[must_use]
    pub fn certificate(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: Some((certificate.into(), key.into())), ..self }
    }

    /// The configuration of rustls, for a client that opens its connections itself.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used, or there is nobody to trust.
    pub fn config(&self) -> Result<ClientConfig, TlsOptionsError> {
        let builder = config_builder()?.with_root_certificates(self.roots()?);
        let Some((certificate, key)) = &self.certificate else { return Ok(builder.with_no_client_auth()) };
        let chain = certificates(certificate)?;
        let key_der = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsOptionsError::File {
            path: key.clone(),
            what: "private key",
            source,
        })?;
        let unusable = |source| TlsOptionsError::Unusable { path: certificate.clone(), source };
        builder.with_client_auth_cert(chain, key_der).map_err(unusable)
    }

    fn roots(&self) -> Result<RootCertStore, TlsOptionsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            Some(path) => {
                for certificate in certificates(path)? {
                    let unusable = |source| TlsOptionsError::Unusable { path: path.clone(), source };
                    roots.add(certificate).map_err(unusable)?;
                }
            }
            // A system may have some that rustls does not take.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        if roots.is_empty() { Err(TlsOptionsError::NoRoots) } else { Ok(roots) }
    }
}

/// The certificates of a PEM file, of which there is at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsOptionsError> {
    let error = |source| TlsOptionsError::File { path: path.to_owned(), what: "certificate", source };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(error)?.collect();
    let found = found.map_err(error)?;
    if found.is_empty() { Err(error(rustls::pki_types::pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn config_builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// A connector for `http` and `https` URLs. Files are read only for an `https` URL.
pub(super) fn connector(
    mut http: HttpConnector,
    is_https: bool,
    options: &TlsOptions,
) -> Result<HttpsConnector<HttpConnector>, TlsOptionsError> {
    http.enforce_http(false);
    let config = if is_https {
        options.config()?
    } else {
        config_builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    };
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http))
}
