//! Asks a running `ratelimiterd` whether it is ready: the health check of an image without a shell or an HTTP client.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

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
    /// The answer is not a 200.
    #[error("{address} is not ready: {answer}")]
    NotReady {
        /// The address.
        address: String,
        /// The body of the answer, which gives the reason.
        answer: String,
    },
}

/// Sends `GET /readyz` to the address `HOST:PORT`. Blocks for at most a few seconds.
///
/// # Errors
///
/// There is no answer within the time limits, or its status is not 200.
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
    let answer = response.split_once("\r\n\r\n").map_or(response.as_str(), |(_, body)| body).to_owned();
    Err(ProbeError::NotReady { address: address.to_owned(), answer })
}
