use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ConnectError;

/// How long a replica may take to accept a connection. It is far above the time of a round trip.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(1);

/// Resolves the replicas' addresses to the comma-separated numeric form that the TigerBeetle client takes.
///
/// Each new session resolves the names again, so it finds a replica that moved. IPv4 is preferred.
pub(super) async fn resolve(addresses: &[String]) -> Result<String, ConnectError> {
    let mut resolved = Vec::with_capacity(addresses.len());
    for address in addresses {
        let error = |source| ConnectError::Resolve { address: address.clone(), source };
        let found: Vec<_> = tokio::net::lookup_host(address).await.map_err(error)?.collect();
        let preferred = found.iter().find(|address| address.is_ipv4()).or(found.first());
        let none = || error(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        resolved.push(preferred.ok_or_else(none)?.to_string());
    }
    Ok(resolved.join(","))
}

/// Whether a replica accepts connections.
pub(super) async fn any_accepts(addresses: &[String]) -> bool {
    let attempts = addresses.iter().map(|address| timeout(ACCEPT_TIMEOUT, TcpStream::connect(address)));
    join_all(attempts).await.iter().any(|attempt| matches!(attempt, Ok(Ok(_))))
}
