//! Asks a running `ratelimiterd` whether it is ready: the health check of an image without a shell or an HTTP client.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{ClientConnection, StreamOwned};

use crate::tls::{TlsOptions, TlsOptionsError};

/// The time limit of the connection, and of each read and write.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How the probe asks over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProbeTls {
    /// Whom the probe trusts, and the certificate that it shows.
    pub options: TlsOptions,
    /// The name that the certificate of the service must have; by default the host of the address. A check inside the
    /// container asks the loopback address, which is rarely in a certificate.
    pub server_name: Option<String>,
}

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
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsOptionsError),
    /// No certificate can have this name.
    #[error("{name:?} is not a name that a certificate can have")]
    ServerName {
        /// The name.
        name: String,
        /// The cause.
        #[source]
        source: InvalidDnsNameError,
    },
    /// The answer is not HTTP, as from a service that speaks TLS only.
    #[error("{0} does not answer in HTTP; if it speaks TLS, use --tls or --ca-file")]
    NotHttp(String),
    /// The answer is not a 200.
    #[error("{address} is not ready: {answer}")]
    NotReady {
        /// The address.
        address: String,
        /// The body of the answer, which gives the reason.
        answer: String,
    },
}

/// Sends `GET /readyz` to the address `HOST:PORT`, over TLS if `tls` says how. Blocks for at most a few seconds.
///
/// # Errors
///
/// There is no answer within the time limits, or its status is not 200; or the files for TLS cannot be used.
pub fn probe(address: &str, tls: Option<&ProbeTls>) -> Result<(), ProbeError> {
    let io = |source| ProbeError::Io { address: address.to_owned(), source };
    let resolved = address.to_socket_addrs().map_err(io)?.next();
    let resolved = resolved.ok_or_else(|| ProbeError::Address(address.to_owned()))?;
    let tls = tls.map(|tls| tls_to(address, tls)).transpose()?;
    let stream = TcpStream::connect_timeout(&resolved, TIMEOUT).map_err(io)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(io)?;
    stream.set_write_timeout(Some(TIMEOUT)).map_err(io)?;
    let response = match tls {
        None => exchange(address, stream),
        Some(tls) => exchange(address, StreamOwned::new(tls, stream)),
    };
    let response = response.map_err(io)?;
    if response.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    if !response.starts_with("HTTP/") {
        return Err(ProbeError::NotHttp(address.to_owned()));
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

/// The caller's side of a TLS connection to an address.
fn tls_to(address: &str, tls: &ProbeTls) -> Result<ClientConnection, ProbeError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = tls.server_name.as_deref().unwrap_or(host).trim_matches(['[', ']']).to_owned();
    let server_name = ServerName::try_from(name.clone());
    let server_name = server_name.map_err(|source| ProbeError::ServerName { name, source })?;
    let config = Arc::new(tls.options.config()?);
    Ok(ClientConnection::new(config, server_name).map_err(TlsOptionsError::from)?)
}
