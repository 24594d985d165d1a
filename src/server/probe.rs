//! Asks a running `ratelimiterd` whether it is ready: the health check of an image without a shell or an HTTP client.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The time limit of the connection, and of each read from it.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the probed address is not ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The address names no host.
    #[error("{0:?} is not HOST:PORT")]
    Address(String),
    /// The connection failed, or the answer took too long.
    #[error("{address} does not answer")]
    Io {
        /// The address.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The certificates to trust cannot be used.
    #[error("the certificates of {path} cannot be used")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is not a 200.
    #[error("{address} is not ready: {answer}")]
    NotReady {
        /// The address.
        address: String,
        /// The body of the answer, which gives the reason.
        answer: String,
    },
}

/// Sends `GET /readyz` to the address `HOST:PORT`, over TLS if there is a PEM file of certificates to trust. Blocks for at
/// most a few seconds.
///
/// # Errors
///
/// There is no answer within the time limits, or its status is not 200; or the file cannot be used.
pub fn probe(address: &str, ca_file: Option<&Path>) -> Result<(), ProbeError> {
    let io = |source| ProbeError::Io { address: address.to_owned(), source };
    let resolved = address.to_socket_addrs().map_err(io)?.next();
    let resolved = resolved.ok_or_else(|| ProbeError::Address(address.to_owned()))?;
    let tls = ca_file.map(|path| tls_to(address, path)).transpose()?;
    let stream = TcpStream::connect_timeout(&resolved, TIMEOUT).map_err(io)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(io)?;
    let response = match tls {
        None => exchange(address, stream),
        Some(tls) => exchange(address, StreamOwned::new(tls, stream)),
    };
    let response = response.map_err(io)?;
    if response.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let answer = response.split_once("\r\n\r\n").map_or(response.as_str(), |(_, body)| body).to_owned();
    Err(ProbeError::NotReady { address: address.to_owned(), answer })
}

fn exchange(address: &str, mut stream: impl Read + Write) -> io::Result<String> {
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

/// The client's side of a TLS connection to an address, which trusts the certificates of a file.
fn tls_to(address: &str, ca_file: &Path) -> Result<ClientConnection, ProbeError> {
    let unusable = |source| ProbeError::Certificates { path: ca_file.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|error| unusable(error.into()))? {
        let certificate = certificate.map_err(|error| unusable(error.into()))?;
        roots.add(certificate).map_err(|error| unusable(error.into()))?;
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    let name = name.map_err(|_| ProbeError::Address(address.to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), name).map_err(|error| unusable(error.into()))
}
