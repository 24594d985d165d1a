use std::io;

use super::ConnectError;

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
