//! The PEM files, and the configuration that rustls makes of them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::server::config::{ClientCertificates, TlsSettings};
use crate::tls::certificates_of;

/// The protocols within TLS, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why the files of `tls.*` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: cannot read the file")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is not PEM, or has nothing of what it should hold.
    #[error("{path}: no {expected} can be read from it")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// The cause.
        #[source]
        source: pem::Error,
    },
    /// The certificate and the key cannot be used together.
    #[error("{path}: the certificate cannot be used with the key of tls.key_path")]
    Pair {
        /// The file of the certificate.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// An authority of clients cannot be used.
    #[error("{path}: a certificate of an authority cannot be used")]
    Authority {
        /// The file of the authorities.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// The authorities of clients cannot be used together.
    #[error("{path}: the authorities cannot be used")]
    Authorities {
        /// The file of the authorities.
        path: PathBuf,
        /// The cause.
        #[source]
        source: VerifierBuilderError,
    },
}

/// The content of the files. The key is no part of what is printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Files {
    certificates: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
}

impl Files {
    /// Reads the files that `settings` name. Blocks.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        Ok(Self {
            certificates: read(&settings.certificate_path)?,
            key: read(&settings.key_path)?,
            authorities: match settings.client_certificates {
                ClientCertificates::Off => Vec::new(),
                ClientCertificates::Optional | ClientCertificates::Required => {
                    read(&settings.client_ca_path)?
                }
            },
        })
    }

    /// Files that all have this content.
    #[cfg(test)]
    pub(crate) fn all_of(content: &[u8]) -> Self {
        Self { certificates: content.to_vec(), key: content.to_vec(), authorities: content.to_vec() }
    }

    /// The configuration that the files make.
    ///
    /// # Errors
    ///
    /// A file is not what it should be, or the key is of another certificate.
    pub(crate) fn config(&self, settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
        let path = &settings.certificate_path;
        let pair = |source| TlsError::Pair { path: path.clone(), source };
        let certificates = certificates(path, &self.certificates)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| TlsError::Pem {
            path: settings.key_path.clone(),
            expected: "private key",
            source,
        })?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(pair)?
            .with_client_cert_verifier(self.verifier(settings)?)
            .with_single_cert(certificates, key)
            .map_err(pair)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(config)
    }

    /// What checks the certificates of clients.
    fn verifier(&self, settings: &TlsSettings) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let must_show = match settings.client_certificates {
            ClientCertificates::Off => return Ok(WebPkiClientVerifier::no_client_auth()),
            ClientCertificates::Optional => false,
            ClientCertificates::Required => true,
        };
        let path = &settings.client_ca_path;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path, &self.authorities)? {
            let added = roots.add(certificate);
            added.map_err(|source| TlsError::Authority { path: path.clone(), source })?;
        }
        let provider = Arc::new(ring::default_provider());
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if !must_show {
            verifier = verifier.allow_unauthenticated();
        }
        verifier.build().map_err(|source| TlsError::Authorities { path: path.clone(), source })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |source| TlsError::Pem { path: path.to_owned(), expected: "certificate", source };
    certificates_of(content).map_err(error)
}
