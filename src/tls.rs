//! TLS of the side that calls a service: whom it trusts, and the certificate that it shows.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

/// Whom a caller trusts, and the certificate that it shows. The files are read once, when the caller is made.
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
        source: pem::Error,
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
    #[error("no root certificate was found on this machine; name a file of the certificates to trust")]
    NoRoots {
        /// Why a certificate of the system could not be read, if one could not.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
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
            // The system's certificates and not a list in the program: operators add the authority of their company
            // there, and its updates arrive without a new release of the program.
            None => {
                let system = rustls_native_certs::load_native_certs();
                // A system may have some that rustls does not take.
                roots.add_parsable_certificates(system.certs);
                if roots.is_empty() {
                    let source = system.errors.into_iter().next().map(Into::into);
                    return Err(TlsOptionsError::NoRoots { source });
                }
            }
        }
        Ok(roots)
    }
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsOptionsError> {
    let content = std::fs::read(path).map_err(pem::Error::Io);
    content.and_then(|content| certificates_of(&content)).map_err(|source| TlsOptionsError::File {
        path: path.to_owned(),
        what: "certificate",
        source,
    })
}

/// The certificates of the content of a PEM file, at least one.
pub(crate) fn certificates_of(content: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(content).collect::<Result<_, _>>()?;
    if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) }
}

/// The configuration of a caller that makes no TLS connection: it trusts nobody.
#[cfg(feature = "client-tls")]
pub(crate) fn trusting_nobody() -> Result<ClientConfig, TlsOptionsError> {
    Ok(config_builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn config_builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}
