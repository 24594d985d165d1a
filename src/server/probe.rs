//! Asks a running `ratelimiterd` whether it is ready: the health check of an image without a shell or an HTTP client.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The longest time to wait for the answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the service is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The address is not `HOST:PORT`.
    #[error("{0:?} is not HOST:PORT")]
    Address(String),
    /// Nothing answers at the address.
    #[error("{address} does not answer")]
    Io {
        /// The address.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The service answers that it is not ready.
    #[error("{0}")]
    NotReady(String),
}

/// Requests `GET /readyz` at an address; an error unless the answer is 200.
pub fn probe(address: &str) -> Result<(), ProbeError> {
    let io = |source| ProbeError::Io { address: address.to_owned(), source };
    let resolved = address.to_socket_addrs().map_err(io)?.next();
    let resolved = resolved.ok_or_else(|| ProbeError::Address(address.to_owned()))?;
    let mut stream = TcpStream::connect_timeout(&resolved, TIMEOUT).map_err(io)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(io)?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(io)?;
    let mut response = String::new();
    stream.read_to_string(&mut response).map_err(io)?;
    if response.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let body = response.split_once("\r\n\r\n").map_or(response.as_str(), |(_, body)| body);
    Err(ProbeError::NotReady(body.to_owned()))
}
