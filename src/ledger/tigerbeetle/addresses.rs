use super::ConnectError;

/// The client takes numeric addresses only, so names are resolved here, anew for each session: a replica that moved is
/// found again.
pub(super) async fn resolve(addresses: &[String]) -> Result<String, ConnectError> {
    let mut resolved = Vec::with_capacity(addresses.len());
    for address in addresses {
        let error = |source| ConnectError::Resolve { address: address.clone(), source };
        let found: Vec<_> = tokio::net::lookup_host(address).await.map_err(error)?.collect();
        let preferred = found.iter().find(|address| address.is_ipv4()).or(found.first());
        let none = || error(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
        resolved.push(preferred.ok_or_else(none)?.to_string());
    }
    Ok(resolved.join(","))
}
